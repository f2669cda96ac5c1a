"""The settings of the MQTT server."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from protocols.access.users import check_users
from protocols.mqtt.access.acl import Rule, check_acl
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
    """Its path on that server. The WebSocket subprotocol is mqtt."""
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
    """Users who may connect: names, and hashes of passwords (argon2id or bcrypt). ``gateway password`` makes a hash."""
    password_file: str | None = None
    """Path of a file of users, with a line ``name:hash`` for each; ``#`` begins a comment line. The file is read again
    when it changes. For a name that is in ``users`` too, the hash in ``users`` counts."""
    remember_logins: Literal["disk", "memory"] = "disk"
    """Where the server remembers that a password was right, so that the same login costs next to nothing the next time.
    ``memory``: until the process ends. ``disk``: with ``persistence: true`` also in the store, as an argon2id hash that
    is some 40 times cheaper than that of ``gateway password``. Then devices are back at once after a restart, but
    passwords are easier to guess from a stolen store."""
    certificate_user: bool = False
    """The common name of a client's certificate is its user name, and it needs no password. Needs ``tls.client_ca``."""
    anonymous: bool | None = None
    """Whether a client without a user name may connect. The default is ``false`` if you set ``users``,
    ``password_file`` or ``certificate_user``. If you set none of them, the application decides about every client;
    on an address that other machines can reach, the gateway then starts only if you write ``true``."""
    acl: tuple[Rule, ...] | None = None
    """Rules for publishing and subscribing. The first rule that matches decides; if none matches, the action is denied.
    Default: every client may do everything."""
    websocket: MQTTWebSocket | None = None
    """Serve MQTT over WebSocket too, for browsers: ``{on: web, path: /mqtt}``."""
    proxy_protocol: tuple[Network, ...] = ()
    """Proxies, as addresses or networks (``unix``: all peers on a Unix socket). Their connections begin with a PROXY
    header (version 1 or 2), whose addresses count. On other connections the server does not look for one."""
    max_connections: Count = 10_000
    """Connections at a time, including those in their TLS handshake. One more is closed at once."""
    max_per_address: Bound = 0
    """Connections at a time from one client address (IPv6: /64). 0 means no limit: a site may have one address."""
    connect_timeout: Timeout = 10.0
    """How long a new connection may take to send CONNECT, and then the application to accept or reject it."""
    disconnect_grace: Seconds = 10.0
    """How long an application may go on without asking for another event after the connection has ended. Then it is
    cancelled; 0 means never."""
    max_packet: Length = 256 * 1024
    """The longest packet that a device may send. If one is longer, the connection is closed."""
    max_keepalive: Seconds = 0.0
    """The longest keep-alive of an MQTT 5 client; one that asks for more, or for none, gets this. 0 means no limit."""
    max_session_expiry: Seconds = 7 * 86400.0
    """The longest time that a session outlives its connection, with its subscriptions and the messages for them. MQTT 5
    clients ask for a time; 3.1.1 clients that want a session (clean session 0) get this one."""
    max_subscriptions: Count = 100
    """Topic filters of one session. SUBACK refuses one more."""
    max_unacked: int = 256
    """QoS 1 and 2 messages of an MQTT 5 client that the application has not acknowledged (receive maximum). If it
    sends one more, its connection is closed. A 3.1.1 client does not know the limit, and is read more slowly."""
    max_inflight: int = 100
    """QoS 1 and 2 messages to one client that are sent and not acknowledged yet; more wait in its queue."""
    max_queued: Bytes = 4 * 1024 * 1024
    """QoS 1 and 2 messages that wait for one subscriber. Beyond this, a subscriber that is connected is disconnected;
    for one that is away, later messages are dropped."""
    max_queued_all: Bytes = 512 * 1024 * 1024
    """QoS 1 and 2 messages that wait for all subscribers together."""
    max_unsent: Bytes = 256 * 1024
    """Bytes that may wait for a subscriber that does not read; beyond this, QoS 0 messages to it are dropped."""
    max_sessions: Bound = 10_000
    """Sessions of devices that are away. Beyond this, the session whose device left first is discarded."""
    max_retained: Bytes = 64 * 1024 * 1024
    """All retained messages together. One more is delivered, but not retained."""
    max_publish_rate: Bound = 0
    """Messages a second that one client may publish, on average. One that publishes faster is read more slowly. 0 means
    no limit."""
    persistence: bool = False
    """Keep sessions, retained messages and messages for clients that are away in the store, so that they outlive the
    gateway's process. A message at QoS 1 or 2 is then acknowledged when all of its effects are on disk."""
    sys_interval: Seconds = 10.0
    """Time between two publications of the server's statistics under $SYS/broker; 0 means none."""

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
