"""Routers of Channels that the gateway's own have no place for."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.compat.worker import Worker
from gateway.routing import ProtocolTypeRouter as OwnRouter
from gateway.routing import as_application, leaves
from gateway.routing.lifespan import run_lifespans
from protocols.asgi import Receive, Send
from protocols.tasks import cancel_all


class ChannelNameRouter:
    """Gives messages to a channel of the layer to the application of that name.

    Its lifespan is a worker for all of its channels: the gateway's process handles them.
    """

    def __init__(self, application_mapping: Mapping[str, Any]) -> None:
        """Raises ValueError for an application that is none."""
        self._applications = {name: as_application(target) for name, target in application_mapping.items()}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._work(receive, send)
            return
        if scope.get("channel") not in self._applications:
            raise ValueError(f"No application configured for channel name {scope.get('channel')!r}")
        await self._applications[scope["channel"]](scope, receive, send)

    async def _work(self, receive: Receive, send: Send) -> None:
        await receive()
        worker = asyncio.create_task(Worker(self, self._applications).run(), name="worker")
        try:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        finally:
            await cancel_all([worker])
        await send({"type": "lifespan.shutdown.complete"})


class ProtocolTypeRouter(OwnRouter):
    """One application per scope type, and one for messages to channels (``channel``)."""

    def __init__(self, application_mapping: Mapping[str, Any]) -> None:
        others = dict(application_mapping)
        channel = others.pop("channel", None)
        self._channel = None if channel is None else as_application(channel)
        super().__init__(others)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if self._channel is None or scope["type"] not in ("lifespan", "channel"):
            await super().__call__(scope, receive, send)
        elif scope["type"] == "channel":
            await self._channel(scope, receive, send)
        else:
            await run_lifespans([*leaves(self), self._channel], scope, receive, send)
