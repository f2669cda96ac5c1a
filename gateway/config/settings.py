"""Defines all settings of gateway.yaml as one strict model, which includes those of the servers and scope types.

A field is declared once, here or beside its server. The parser, the default, the JSON Schema, the reference in
``docs/configuration.md`` and the error messages come from that.
"""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from gateway.config import scope_settings
from gateway.delivery.keep import Keep
from gateway.scopes.routes import Target
from gateway.threads import DEFAULT_SIZE
from gateway.tracing.settings import TracingSettings
from protocols.access.users import check_users
from protocols.http.forwarded import USUAL, TrustedHeader, header_mistake
from protocols.net.tls import TLS
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG
from protocols.setting_forms import Text
from protocols.units import Address, Between, Bytes, Count, Network, Seconds, TextFor, Timeout, is_local, parse_address

if TYPE_CHECKING:  # what there is depends on the scope types that are installed
    ServerSettings: TypeAlias = Any
    RoutesSettings: TypeAlias = Any
    KeepSettings: TypeAlias = Any
    from protocols.mail.compose.reply_token import ReplyTokenSettings
    from protocols.mail.submission import SubmissionSettings
else:
    ServerSettings = Annotated[Any, scope_settings.AnyServer()]
    RoutesSettings = scope_settings.routes()
    KeepSettings = Annotated[Any, scope_settings.KeepOfKinds()]
    ReplyTokenSettings = scope_settings.at_key("reply_tokens", "protocols.mail.compose.reply_token:ReplyTokenSettings")
    SubmissionSettings = scope_settings.at_key("submission", "protocols.mail.submission:SubmissionSettings")

ServerName = Annotated[str, Text(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", most=40)]
NAME_RULE = "at most 40 letters, digits, - and _, the first a letter or a digit"


LoggerName = Annotated[str, Text(least=1, most=200)]
Level = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class DjangoSettings:
    """A Django project, set up before anything is imported."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    settings: Annotated[str, Text(least=1)]
    """The settings module, as in `DJANGO_SETTINGS_MODULE`."""


@dataclass(frozen=True)
class ConsoleSettings:
    """The operator's interface over HTTP; for a supervisor `/healthz` and `/readyz`, for Prometheus `/metrics`."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    bind: Address = "127.0.0.1:9000"
    """Where it listens: `host:port` or `unix:/path`. Other machines may reach it only if it has users."""
    tls: TLS | None = None
    """Certificate and key; if set, it speaks HTTPS only."""
    users: dict[str, Secret] | None = None
    """Users who may use it: names, and hashes of passwords (argon2id or bcrypt). `gateway password` makes a hash.
    Without users everybody who reaches it may use it."""
    password_file: str | None = None
    """Path of a file of users, with a line `name:hash` for each. The file is read again when it changes."""
    session: Timeout = 43200.0
    """How long a login in a browser lasts. It also ends when its user is removed or gets another password."""
    session_idle: Timeout = 7200.0
    """How long it lasts without a request. An open stream of events is used all the time."""
    metrics_token: Secret | None = None
    """With users: a token with which Prometheus may read `/metrics`, as `Authorization: Bearer TOKEN`."""
    hosts: tuple[Annotated[str, Text(least=1, most=253)], ...] = ()
    """Names by which it is called, such as `console.example.org`. Its addresses and `localhost` need not be here; a
    request for another name is refused, because a page of another site may have sent it."""
    trusted_proxies: tuple[Network, ...] = ()
    """Proxies in front of it, as addresses or networks (`unix`: all peers on a Unix socket). What they say of the
    client in `trusted_headers` counts."""
    trusted_headers: tuple[TrustedHeader, ...] = USUAL
    """The fields that each of these proxies writes itself, as for an http server."""
    required: tuple[ServerName, ...] = ()
    """Servers without which `/readyz` is 503 while their upstream (a broker, a mailbox) is away. Servers that listen
    always count. `layer` is the channel layer, while it is cut off from other processes."""

    def __post_init__(self) -> None:
        if self.users is not None:
            check_users(self.users)
        if mistake := header_mistake(self.trusted_proxies, self.trusted_headers):
            raise ValueError(mistake)
        if "x-forwarded-prefix" in self.trusted_headers:
            raise ValueError("trusted_headers: leave out x-forwarded-prefix: the console is at the root of its host")

    @property
    def knows_users(self) -> bool:
        return self.users is not None or self.password_file is not None

    @property
    def is_open(self) -> bool:
        """Whether other machines may reach it without a login."""
        return not self.knows_users and not is_local(parse_address(self.bind))


@dataclass(frozen=True)
class LogSettings:
    """What the daemon logs, and where."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    format: Literal["text", "json"] = "text"
    """`text` is for people; `json` writes one object on each line, for machines."""
    file: Annotated[str, Text(least=1)] | None = None
    """A file to write to, in a folder that exists; without it, standard error. With it, warnings and errors go to
    standard error, too, until the gateway has started. When the file was renamed, SIGUSR1 opens a new one."""
    max_size: Bytes = 100 * 1024 * 1024
    """How long the file may become. Before that it is renamed to `FILE.1`, the one before it to `FILE.2`, and so on.
    0: it is not, because logrotate does it."""
    daily: bool = False
    """Whether it is also renamed before the first record of each day."""
    keep: Count = 7
    """How many renamed files stay."""
    access_file: Annotated[str, Text(least=1)] | None = None
    """A file for the lines of `access_log` of http servers alone, which are then nowhere else. It is renamed as `file`
    is. Lines in the `combined` format are as they are in it, also under `format: json`."""
    timestamps: bool | None = None
    """Whether each record in `text` begins with the time, to the millisecond and with its offset from UTC. The default
    is yes, except for systemd's journal, which has its own times, and for a terminal, which gets the time of day. In
    `json` the time is a field."""
    arrivals: bool = False
    """Whether each request, message and connection is a line at level `info` once it has its outcome: time, protocol,
    event id, who -> what, route -> consumer, verdict, milliseconds. It has no content and no secrets."""
    level: Level = "info"
    """The lowest level that is written. Of the gateway's own lines below `error`, at most 100 of each kind are written
    within 10 s; the next line of that kind says how many were left out. At `debug` all are written."""
    levels: dict[LoggerName, Level] = field(default_factory=dict)
    """Levels of single loggers and of those below them, in place of `level`: `{gateway.scopes.email: debug}`."""
    tracebacks: Literal["short", "full"] = "short"
    """`short`: the line of your code that failed; `full`: every frame, as at level debug."""


@dataclass(frozen=True)
class OutgoingSettings:
    """What handlers send on routes with a policy. It is stored, and tried until it has left."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    keep: KeepSettings = field(default_factory=Keep)
    """How long an item is tried after its commit; if it fails later than that, it is dead. `5d` is for everything;
    or by kind: `{email: 5d, sms: 1d, mqtt: 5d}`, which is the default. If the other side refuses our account (a login,
    a balance), the item is kept without a limit."""

    @property
    def lives(self) -> Keep:
        if isinstance(self.keep, Keep):
            return self.keep
        return Keep(everything=self.keep) if isinstance(self.keep, float) else Keep(asdict(self.keep))


@dataclass(frozen=True)
class Settings:
    """The top-level keys."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    servers: dict[ServerName, ServerSettings]
    """The protocol servers, by name. `{}` is enough for a gateway that only runs tasks."""
    routes: RoutesSettings | None = None
    """What answers each scope type. Either this or `application`."""
    application: Target | None = None
    """An ASGI application written in Python that answers every scope type: `module.attribute` or `module:attribute`."""
    django: DjangoSettings | None = None
    """A Django project, set up before anything is imported."""
    path: str = "."
    """The folder from which targets are imported, relative to the file's own folder."""
    layer: Annotated[str, Text(least=1, most=1000)] = "memory"
    """The channel layer that groups are made on. `memory` reaches the consumers of this process, `ipc` those of all
    processes of this machine with the same file, `redis://HOST` those of all hosts. `django` is the layer in
    `CHANNEL_LAYERS` of the project's settings; `module.attribute` names a layer of Channels, or a function that returns
    one. See [Channel layers](layers.md)."""
    store: Annotated[str, Text(most=1000)] = "sqlite:var/gateway.db"
    """The durable store: messages of routes with a policy, dead letters, outgoing items, and the state of servers
    with `persistence`. Write `sqlite:` and a path, `postgresql://USER@HOST/DATABASE`, or `django` for the default
    database of the project. A gateway opens it if one of these needs it, or if the file has this key: what code outside
    of handlers sends is then stored first."""
    submission: Annotated[SubmissionSettings, TextFor("url")] | None = None
    """Where outgoing mail goes."""
    reply_tokens: ReplyTokenSettings | None = None
    """Lets answers carry an id in Reply-To, such as a ticket's, by which the answer to them is recognized."""
    postmaster: Annotated[str, Text(least=1, most=300)] | None = None
    """The address (to which it is forwarded) or the application (`module.attribute`) that gets mail for postmaster and
    abuse, unless a route takes that by its `address`. By default mail for them that no route takes is accepted, and is
    a line in the log."""
    outgoing: OutgoingSettings = field(default_factory=OutgoingSettings)
    """How long the gateway tries to send what handlers send on routes with a policy."""
    workers: Annotated[int, Between(1, 256)] = 1
    """How many processes serve, each on its own core. With more than one, a parent process starts, watches and
    replaces them. A broker, a mailbox and an `mqtt-client` live in one of them, which a lease in the store chooses."""
    worker_max_memory: Bytes = 0
    """With `workers`: a worker that has more memory than this is replaced, without losing a connection. The limit of
    each worker is up to a tenth higher, so that they are not all replaced at once. 0: no limit."""
    worker_max_age: Seconds = 0.0
    """With `workers`: a worker that is older than this is replaced, without losing a connection. The limit of each
    worker is up to a tenth higher. 0: no limit."""
    threads: Annotated[int, Between(1, 1000)] = DEFAULT_SIZE
    """How many sync handlers run at once; more wait."""
    shutdown_timeout: Seconds = 10.0
    """How long handlers that run may take to finish after SIGTERM or Ctrl+C; then they are cancelled."""
    console: ConsoleSettings | None = None
    """Where the gateway tells a supervisor or a load balancer, over HTTP, whether it is alive and ready (``/healthz``,
    ``/readyz``), and Prometheus what it has counted (``/metrics``). By default it does not."""
    log: LogSettings = field(default_factory=LogSettings)
    """What the daemon logs, and where."""
    tracing: TracingSettings | None = None
    """Traces of messages, by OpenTelemetry; `{}` is enough. It needs `asgi-gateway[otel]`. By default nothing is
    traced."""
