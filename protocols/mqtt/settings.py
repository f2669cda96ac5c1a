"""The settings of the MQTT server."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from protocols.listener import TLS
from protocols.server import SETTINGS_CONFIG
from protocols.units import Address, Bytes, Network, Seconds


@dataclass(frozen=True)
class MQTTSettings:
    """An MQTT 3.1.1 server: QoS 0 and 1."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["mqtt"] = "mqtt"
    """Which server this is."""
    bind: Address = "127.0.0.1:1883"
    """Where devices connect."""
    tls: TLS | None = None
    """Certificate and key; without them the connection is plain TCP."""
    proxy_protocol: tuple[Network, ...] = ()
    """Proxies, as addresses or networks (``unix``: those on a Unix socket). Their connections begin with a PROXY header
    (version 1 or 2), and its addresses count; from others none is looked for."""
    max_connections: int = 10_000
    """Connections at a time, those in their TLS handshake included; one more is closed at once."""
    max_per_address: int = 0
    """The same, from one client address (IPv6: /64). 0 for no bound: all devices of a site may have one address."""
    connect_timeout: Seconds = 10.0
    """How long a new connection may take to say CONNECT, and then the application to accept or reject it."""
    max_packet: Bytes = 256 * 1024
    """The longest packet that a device may send; a longer one closes its connection."""
    max_subscriptions: int = 100
    """Topic filters of one session; one more gets 0x80 in its SUBACK."""
    max_inflight: int = 100
    """QoS 1 messages of one session that are sent and not acknowledged yet; more wait in its queue."""
    max_queued: Bytes = 4 * 1024 * 1024
    """QoS 1 messages that wait for one subscriber. One that is connected and does not keep up is disconnected; for
    one that is away, what comes later is dropped."""
    max_unsent: Bytes = 256 * 1024
    """What may wait in memory for a subscriber that does not read; until it does, QoS 0 messages to it are dropped."""
    max_sessions: int = 10_000
    """Sessions (clean session 0) kept for devices that are away; the one that left first goes first."""
    max_retained: Bytes = 64 * 1024 * 1024
    """All retained messages together; one more is delivered, but not retained."""
