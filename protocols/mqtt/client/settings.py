"""The settings of the MQTT client."""

import socket
import ssl
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from protocols.mqtt.wire.topics import valid_filter
from protocols.net.tls import client_context
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.units import Count, Length, Seconds, Timeout

_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_WEBSOCKET = ("ws", "wss")
_SECURE = ("mqtts", "wss")


@dataclass(frozen=True, kw_only=True)
class MQTTClientSettings:
    """A client of an existing broker. The broker's messages reach the application as those of devices do."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["mqtt-client"] = "mqtt-client"
    url: str
    """``mqtt://host:port``, or ``mqtts://`` for TLS; ``ws://host:port/path`` and ``wss://`` for MQTT over WebSocket.
    Default ports: 1883, 8883, 80 and 443."""
    subscribe: tuple[str, ...] = ()
    """Topic filters to subscribe to, at each connection; ``$share/<group>/<filter>`` shares them among clients."""
    qos: Literal[0, 1, 2] = 1
    """QoS of the subscriptions. 0: a message may be lost. 1: the broker keeps a message until it is acknowledged. 2: a
    message is also handled only once, as long as this process lives, or over restarts with ``persistence: true``."""
    parallel: Count = 1
    """Instances of the application, which handle messages at the same time. Messages of one topic always go to the same
    instance, in their order."""
    username: str | None = None
    """The user name that the broker checks."""
    password: Secret | None = None
    """The password of ``username``."""
    client_id: str = ""
    """The broker finds our session by it. So it must stay the same, and no other client may use it. Default: the
    server's name and this machine's (``plant-box1``)."""
    version: Literal["3.1.1", "5.0"] = "5.0"
    """MQTT version. A broker that refuses 5.0 is asked again with 3.1.1."""
    keepalive: int = 60
    """Seconds of silence after which the connection is probed; after twice as long it is closed. 0 means never."""
    clean_start: bool = False
    """Begin each connection without the session of the last one: messages that came meanwhile are lost."""
    session_expiry: Seconds = 86400.0
    """How long the broker keeps our session, and what arrives for it, while we are away (5.0; a 3.1.1 broker decides
    for itself). This matters for shared subscriptions too: few brokers give what we had not acknowledged to another
    member."""
    max_unacked: Count = 64
    """Unacknowledged messages that each instance of the application may have. At that number, reading stops; a 5.0
    broker is told how many that is for all instances, and sends no more."""
    max_packet: Length = 1024 * 1024
    """Largest packet that the client takes. A 5.0 broker is told, and drops larger messages. A larger message that
    arrives nevertheless is dropped, with a line in the log."""
    persistence: bool = False
    """Keep the state of QoS 2 in the store, so that it outlives the gateway's process: a message whose handler has
    finished is not handled again after a restart. Its PUBREC leaves when that is on disk."""
    ca: str | None = None
    """Path of a PEM file with the authorities that may sign the broker's certificate. Default: the system's."""
    certificate: str | None = None
    """Path of the PEM file with our own certificate and its chain, for brokers that ask for one."""
    key: str | None = None
    """Path of the PEM file with our private key; goes with ``certificate``."""
    timeout: Timeout = 10.0
    """How long to wait for the broker: to connect, and for each answer."""
    disconnect_grace: Seconds = 10.0
    """How long an application may go on without asking for another event after the connection has ended. Then it is
    cancelled; 0 means never."""
    retry: Timeout = 1.0
    """Pause before the second attempt to connect; it doubles with each one that fails."""
    retry_max: Timeout = 60.0
    """The longest pause."""

    def __post_init__(self) -> None:
        """Raises ValueError for a URL or a topic filter that is none, and for numbers that MQTT has no room for."""
        self._check_url(urlsplit(self.url))
        for text in self.subscribe:
            if not valid_filter(text):
                raise ValueError(f"subscribe: {text!r} is not a topic filter")
        if self.max_unacked < 1 or self.parallel < 1 or self.receive_maximum > 65535:
            raise ValueError("max_unacked, parallel: 1 or more each, and multiplied 65535 at most")
        if not 0 <= self.keepalive <= 65535:
            raise ValueError("keepalive: 0 to 65535 seconds")
        if not 0 <= self.session_expiry < 2**32:
            raise ValueError("session_expiry: 0 to 4294967295 seconds, which is for ever")

    def _check_url(self, parts: SplitResult) -> None:
        has_path = parts.path not in ("", "/") or parts.query
        if parts.scheme not in _PORTS or not parts.hostname or not _has_port(parts):
            raise ValueError(
                f"url: {parts.scheme}://... is not a broker's URL; write mqtt://host:1883 or mqtts://host:8883"
            )
        if has_path and parts.scheme not in _WEBSOCKET:
            raise ValueError(f"url: {parts.scheme}:// has no path; ws:// and wss:// do")
        if parts.username is not None:
            raise ValueError("url: write the user and the password as username and password")

    def client_id_of(self, name: str) -> str:
        """Return the client id of the server ``name`` on this machine."""
        return self.client_id or f"{name}-{socket.gethostname()}"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or _PORTS[parts.scheme]

    @property
    def is_websocket(self) -> bool:
        return urlsplit(self.url).scheme in _WEBSOCKET

    @property
    def is_secure(self) -> bool:
        return urlsplit(self.url).scheme in _SECURE

    @property
    def receive_maximum(self) -> int:
        """Unacknowledged messages that the broker may have sent us (5.0)."""
        return self.max_unacked * self.parallel

    def context(self) -> ssl.SSLContext | None:
        """Raises BindError if a file is missing or wrong."""
        return client_context(self.ca, self.certificate, self.key) if self.is_secure else None


def _has_port(parts: SplitResult) -> bool:
    """Whether its port, if it names one, is a port."""
    try:
        return parts.port != 0
    except ValueError:
        return False
