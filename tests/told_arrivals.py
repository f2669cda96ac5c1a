"""Arrivals that a test makes up, and a gateway of which there is nothing but them and its control socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from own_services import installed

from gateway.arrivals import Arrival, Arrivals, arrivals
from gateway.console.here import Here
from gateway.console.socket import Commands
from gateway.control.recent import Recent
from gateway.control.server import ControlServer
from gateway.services import services_here

FACTS: dict[str, Any] = {
    "time": 1.0,
    "type": "sms",
    "event": "sms.receive",
    "server": "texts",
    "id": "7f3a",
    "who": "+447700900123",
    "what": "+447700900999",
    "route": "+44",
    "target": "handlers.Texts",
    "verdict": "accepted",
    "seconds": 0.25,
}


def arrival(number: int = 0, **facts: Any) -> Arrival:
    return Arrival(**{**FACTS, "id": f"{number}", **facts})


def told_by(recent: Recent | None = None) -> Here:
    """A daemon that has nothing but the services that the test has installed."""
    gateway: Any = SimpleNamespace(services=services_here())
    return Here(lambda: gateway, Recent() if recent is None else recent)


@asynccontextmanager
async def serving(beside: Path, recent: Recent | None = None) -> AsyncIterator[Arrivals]:
    """Serve the control socket beside a file. ``recent`` remembers what the test tells the result."""
    here = Arrivals()
    with installed({arrivals: here}):
        if recent is not None:
            recent.start()
        serves = ControlServer(beside, Commands(told_by(recent)))
        await serves.start()
        try:
            yield here
        finally:
            await serves.stop()
            here.close()
