"""Routers of Channels that the gateway's own have no place for."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from gateway.compat.worker import Worker
from gateway.routing import ProtocolTypeRouter as OwnRouter
from gateway.routing import as_application
from gateway.scope_kinds import scope_kinds
from protocols.asgi import Receive, Send
from protocols.tasks import cancel_all

logger = logging.getLogger(__name__)


class ChannelNameRouter:
    """Gives messages to a channel of the layer to the application of that name.

    Its lifespan is a worker for all of its channels: the gateway's process handles them.
    """

    is_worker = True
    """A gateway with this application has something to do, also if it has no server."""

    def __init__(self, application_mapping: Mapping[str, Any], *, concurrency: int = 1) -> None:
        """``concurrency``: how many messages of a channel are handled at once, at most. Raises ValueError for a wrong
        one, and for an application that is none."""
        self._applications = {name: as_application(target) for name, target in application_mapping.items()}
        self._make_worker = partial(Worker, self, tuple(self._applications), concurrency=concurrency)
        self._make_worker()  # which raises now, and not at the start

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope.get("type") == "lifespan":
            await self._work(receive, send)
            return None
        if scope.get("channel") not in self._applications:
            raise ValueError(f"No application configured for channel name {scope.get('channel')!r}")
        return await self._applications[scope["channel"]](scope, receive, send)

    async def _work(self, receive: Receive, send: Send) -> None:
        await receive()
        logger.info("worker of the channels %s", ", ".join(self._applications))
        worker = self._make_worker()  # one for each lifespan: a reload begins the next before the last has ended
        working = asyncio.create_task(worker.run(), name="worker")
        try:
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await worker.stop()
        finally:
            await cancel_all([working])
        await send({"type": "lifespan.shutdown.complete"})


class ProtocolTypeRouter(OwnRouter):
    """One application per scope type, and one for messages to channels (``channel``)."""

    def __init__(self, application_mapping: Mapping[str, Any]) -> None:
        others = dict(application_mapping)
        channel = others.pop("channel", None)
        super().__init__(others)
        self.besides = () if channel is None else (as_application(channel),)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "channel" and self.besides:
            return await self.besides[0](scope, receive, send)
        if scope["type"] not in ("lifespan", *scope_kinds()):
            raise ValueError(f"No application configured for scope type {scope['type']!r}")
        return await super().__call__(scope, receive, send)
