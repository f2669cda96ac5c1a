"""Makes a gateway the running one of the process, alone or in the place of another."""

import sys

from gateway import services
from gateway.arrivals import arrivals
from gateway.consumers.waiting import tell_waiting
from gateway.logs import setup
from gateway.logs.arrivals import log
from gateway.run_counts import METER
from gateway.runtime.build import Gateway
from gateway.runtime.running import Predecessor, RunningGateway
from protocols.app_run import observed


async def install(new: RunningGateway, predecessor: Predecessor | None = None) -> None:
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
    """Set what the process has one of: its log, and the services that code outside any gateway's context finds."""
    setup.configure(gateway.settings.log, sys.stderr, to_files=True)
    if not gateway.settings.log.arrivals:  # those of a predecessor were logged
        gateway.services[arrivals].forget(log)
    observed.waits = tell_waiting
    observed.meter = METER
    if gateway.tracing is not None:
        gateway.tracing.start()
    services.install(gateway.services)
