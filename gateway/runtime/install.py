"""Makes a gateway the running one: its logs, its services, its servers, in the place of another or alone."""

import sys

from gateway import services
from gateway.logs import setup
from gateway.runtime.build import Gateway
from gateway.runtime.running import RunningGateway


async def install(new: RunningGateway, predecessor: RunningGateway | None = None) -> None:
    """Start ``new`` and make it the running gateway of this process; ``predecessor`` gives way to it.

    Returns when ``new`` serves. What the predecessor had accepted is finished there, for its ``shutdown_timeout`` at
    most, while new connections come to ``new``. Raises StartupFailed, StoreUnavailable or BindError; then the caller
    has to abort ``new``, and the predecessor goes on.
    """
    if predecessor is None:
        _make_current(new.gateway)
        await new.start()
    else:
        await new.take_over(predecessor)
        _make_current(new.gateway)
        new.replaces(predecessor)


def _make_current(gateway: Gateway) -> None:
    """What the process has one of, whatever runs in it: its log, and what code in no gateway's context finds."""
    setup.configure(gateway.settings.log, sys.stderr)
    services.install(gateway.services)
