"""The settings of the MQTT server."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from protocols.mqtt.access.acl import Rule, check_acl
from protocols.mqtt.access.users import check_users
from protocols.net.listener import TLS
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.units import (
    Address,
    Bound,
    Bytes,
    Count,
    Length,
    Network,
    Seconds,
    Timeout,
    is_local,
    parse_address,
)


@dataclass(frozen=True)
class MQTTWebSocket:
    """Where browsers reach an MQTT server."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    on: str
    """Name of the http server that carries it."""
    path: str = "/mqtt"
    """Its path there; the WebSocket subprotocol is mqtt."""
    origins: tuple[str, ...] = ()
    """Other sites whose pages may connect, such as https://app.example.org; ``*`` for all. Pages of the http server
    itself may."""


@dataclass(frozen=True)
class MQTTSettings:
    """An MQTT server: 3.1.1 and 5.0."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["mqtt"] = "mqtt"
    """Which server this is."""
    bind: Address = "127.0.0.1:1883"
    """Where devices connect."""
    tls: TLS | None = None
    """Certificate and key; without them the connection is plain TCP."""
    users: dict[str, Secret] | None = None
    """Who may connect: user names and hashes of their passwords, argon2id or bcrypt. ``gateway password`` makes one."""
    password_file: str | None = None
    """Path of a file of such users, a line ``name:hash`` for each; ``#`` begins a comment line. When it changes it is
    read again. A name that is in ``users`` too has its hash from there."""
    remember_logins: Literal["disk", "memory"] = "disk"
    """Where the server remembers that a password was right, so that the same login costs next to nothing the next time.
    ``memory``: until the process ends. ``disk``: with ``persistence: true`` also in the store, as an argon2id hash that
    is some 40 times cheaper than that of ``gateway password``. Then devices are back at once after a restart, but
    passwords are easier to guess from a stolen store."""
    certificate_user: bool = False
    """The common name of a client's certificate is its user name, and no password is asked. Needs ``tls.client_ca``."""
    anonymous: bool | None = None
    """Whether a client without a user name may connect. Default: where ``users``, ``password_file`` or
    ``certificate_user`` say who may, no; otherwise the application decides who connects, which an address that other
    machines reach has to be told by ``true``."""
    acl: tuple[Rule, ...] | None = None
    """Who may publish and subscribe to what. The first rule that matches decides; where none does, it is denied.
    Default: everybody may do everything."""
    websocket: MQTTWebSocket | None = None
    """Serve MQTT over WebSocket too, for browsers: ``{on: web, path: /mqtt}``."""
    proxy_protocol: tuple[Network, ...] = ()
    """Proxies, as addresses or networks (``unix``: those on a Unix socket). Their connections begin with a PROXY header
    (version 1 or 2), and its addresses count; from others none is looked for."""
    max_connections: Count = 10_000
    """Connections at a time, those in their TLS handshake included; one more is closed at once."""
    max_per_address: Bound = 0
    """The same, from one client address (IPv6: /64). 0 for no bound: all devices of a site may have one address."""
    connect_timeout: Timeout = 10.0
    """How long a new connection may take to say CONNECT, and then the application to accept or reject it."""
    disconnect_grace: Seconds = 10.0
    """How long an application may go on without asking for another event after the connection has ended. Then it is
    cancelled; 0 for never."""
    max_packet: Length = 256 * 1024
    """The longest packet that a device may send; a longer one closes its connection."""
    max_keepalive: Seconds = 0.0
    """The longest keep-alive of an MQTT 5 client, which is told so where it asked for more, or for none; 0: as it
    asks."""
    max_session_expiry: Seconds = 7 * 86400.0
    """How long a session, with its subscriptions and what arrives for them, outlives its connection, at most. MQTT 5
    clients ask for a time; 3.1.1 clients that want a session (clean session 0) get this one."""
    max_subscriptions: Count = 100
    """Topic filters of one session; one more is refused in its SUBACK."""
    max_unacked: int = 256
    """QoS 1 and 2 messages of an MQTT 5 client that the application has not acknowledged (receive maximum); one more
    closes its connection. A 3.1.1 client, which cannot be told, is read more slowly instead."""
    max_inflight: int = 100
    """QoS 1 and 2 messages to one client that are sent and not acknowledged yet; more wait in its queue."""
    max_queued: Bytes = 4 * 1024 * 1024
    """QoS 1 and 2 messages that wait for one subscriber. One that is connected and does not keep up is disconnected;
    for one that is away, what comes later is dropped."""
    max_queued_all: Bytes = 512 * 1024 * 1024
    """The same, of all subscribers together."""
    max_unsent: Bytes = 256 * 1024
    """What may wait in memory for a subscriber that does not read; until it does, QoS 0 messages to it are dropped."""
    max_sessions: Bound = 10_000
    """Sessions kept for devices that are away; the one that left first goes first."""
    max_retained: Bytes = 64 * 1024 * 1024
    """All retained messages together; one more is delivered, but not retained."""
    max_publish_rate: Bound = 0
    """Messages a second that one client may publish, on average; one that publishes faster is read more slowly. 0: any
    number."""
    persistence: bool = False
    """Sessions, retained messages and whatever is on its way to a client that is away outlive the gateway's process.
    A message at QoS 1 or 2 is then acknowledged when all that it stands for is on disk."""
    sys_interval: Seconds = 10.0
    """Between two publications of the server's figures under $SYS/broker; 0: none."""

    def __post_init__(self) -> None:
        for name in ("max_unacked", "max_inflight"):
            if not 1 <= getattr(self, name) <= 65535:  # packet identifiers have two bytes
                raise ValueError(f"{name}: 1 to 65535")
        if self.users is not None:
            check_users(self.users)
        if self.acl is not None:
            check_acl(self.acl)
        if self.certificate_user and not _asks_certificates(self.tls):
            raise ValueError("certificate_user needs tls.client_ca: the authorities whose certificates name users")
        self._check_openness()

    @property
    def knows_users(self) -> bool:
        """Whether it is said here who may connect, and not left to the application."""
        return self.certificate_user or self.users is not None or self.password_file is not None

    def lets_anybody(self, bind: str, tls: TLS | None) -> bool:
        """Whether anybody who reaches this address may connect, and nobody has said so."""
        said = self.knows_users or self.anonymous or _asks_certificates(tls)
        return not said and not is_local(parse_address(bind))

    def _check_openness(self) -> None:
        if self.anonymous is False and not self.knows_users:
            raise ValueError("anonymous: false lets nobody connect: say users, password_file or certificate_user")
        if self.lets_anybody(self.bind, self.tls):
            raise ValueError(
                f"bind {parse_address(self.bind)} lets anybody connect: say users, password_file, tls.client_ca, or "
                "anonymous: true where the application itself decides"
            )


def _asks_certificates(tls: TLS | None) -> bool:
    return tls is not None and bool(tls.client_ca)
