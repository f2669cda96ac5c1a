"""Where a broker is, and what we tell it about ourselves."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from protocols.mqtt.wire.aliases import ALIASES
from protocols.mqtt.wire.fields import MAX_VARIABLE


@dataclass(frozen=True)
class ConnectOptions:
    """One connection's."""

    url: str
    host: str
    port: int
    client_id: str
    open_websocket: Callable[..., Awaitable[Any]] | None = None
    """Opens the connection, if it is MQTT over WebSocket."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    version: str = "5.0"
    keepalive: int = 60
    clean_start: bool = False
    session_expiry: int = 0
    """Seconds (5.0)."""
    receive_maximum: int = 64
    """Unacknowledged messages that the broker may have sent us (5.0)."""
    max_packet: int = 1024 * 1024
    """Bytes of the largest packet that the broker may send us."""
    timeout: float = 10.0
    """Seconds that the broker may take for an answer, or read nothing of what we send."""

    @property
    def level(self) -> int:
        """The protocol level: 4 for MQTT 3.1.1, 5 for MQTT 5.0."""
        return 5 if self.version == "5.0" else 4

    @property
    def largest(self) -> int:
        """Bytes of the largest packet that may arrive: a broker of 3.1.1 cannot be told how much we take."""
        return 2 * self.max_packet if self.level == 5 else MAX_VARIABLE

    @property
    def properties(self) -> dict[str, Any]:
        """CONNECT's (5.0)."""
        return {
            "session_expiry_interval": self.session_expiry,
            "receive_maximum": self.receive_maximum,
            "maximum_packet_size": self.max_packet,
            "topic_alias_maximum": ALIASES,
        }
