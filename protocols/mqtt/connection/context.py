"""What the server gives to its connections, and how a line of the log names one."""

import asyncio
import logging
from collections import Counter
from typing import Any, Protocol

from protocols.asgi import Application
from protocols.mqtt.access.access import Access
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.counters import Counters
from protocols.mqtt.settings import MQTTSettings

logger = logging.getLogger("protocols.mqtt.connection")


class ServerContext(Protocol):
    """What the server has, for each connection."""

    app: Application
    generation: int
    """How many applications it had before."""
    name: str
    state: dict[str, Any]
    settings: MQTTSettings
    broker: Broker
    access: Access
    counters: Counters
    refusals: Counter[str]


def log(name: str, transport: asyncio.Transport, who: str, what: str, *, lost: bool = False) -> None:
    """``lost``: this is said whatever else there is to say."""
    extra = {"lost": True} if lost else None
    logger.warning("%s: %s%s %s", name, _peer(transport.get_extra_info("peername")), who, what, extra=extra)


def _peer(address: Any) -> str:
    return "{}:{}".format(*address[:2]) if isinstance(address, tuple) else "a local socket"
