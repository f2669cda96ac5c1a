"""What the server gives to its connections, and how a line of the log names one."""

import asyncio
import logging
from collections import Counter
from typing import Any, Protocol

from protocols.asgi import Application
from protocols.log_facts import about_peer
from protocols.mqtt.access.access import Access
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.counters import Counters
from protocols.mqtt.connection.endings import Endings
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
    endings: Endings
    refusals: Counter[str]


def log(
    name: str, transport: asyncio.Transport, client_id: str, what: str, *, verdict: str = "", lost: bool = False
) -> None:
    """``client_id``: empty before its CONNECT. ``lost``: this is said whatever else there is to say."""
    address = transport.get_extra_info("peername")
    extra = about_peer("mqtt", name, address, verdict, client_id) | ({"lost": True} if lost else {})
    who = f" ({client_id})" if client_id else ""
    logger.warning("%s: %s%s %s", name, _peer(address), who, what, extra=extra)


def _peer(address: Any) -> str:
    return "{}:{}".format(*address[:2]) if isinstance(address, tuple) else "a local socket"
