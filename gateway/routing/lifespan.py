"""One lifespan over many applications: all start, then all stop; those without lifespan support are left alone."""

from collections.abc import Iterable
from typing import Any

from protocols.asgi import Application, Receive, Send
from protocols.lifespan import Lifespan, StartupFailed


async def run_lifespans(apps: Iterable[Application], scope: Any, receive: Receive, send: Send) -> None:
    """Answer a lifespan scope by running that of every app, in order, and stopping in reverse.

    Their states are merged into ``scope["state"]``. Consumers have no lifespan and are not asked.
    """
    await receive()
    lifespans = [Lifespan(app) for app in apps if not hasattr(app, "consumer_class")]
    started: list[Lifespan] = []
    for lifespan in lifespans:
        try:
            await lifespan.startup()
        except StartupFailed as error:
            await _shutdown(started)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        started.append(lifespan)
        scope.setdefault("state", {}).update(lifespan.state)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _shutdown(started)
    await send({"type": "lifespan.shutdown.complete"})


async def _shutdown(started: list[Lifespan]) -> None:
    for lifespan in reversed(started):
        await lifespan.shutdown()
