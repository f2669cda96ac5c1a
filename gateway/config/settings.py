"""Everything that gateway.yaml may say, as one strict model: the servers' own settings, composed.

A field is declared once, here or beside its server; that gives the parser, the default, the JSON Schema, the reference
in ``docs/configuration.md`` and the errors.
"""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Discriminator, Field, StringConstraints, Tag, TypeAdapter

from gateway.config import composed
from gateway.delivery.keep import Keep
from gateway.scopes.routes import Target
from gateway.threads import DEFAULT_SIZE
from protocols.mail.submission import SubmissionSettings
from protocols.server import SETTINGS_CONFIG
from protocols.units import Address, Seconds, Timeout

if TYPE_CHECKING:  # what there is depends on the scope types that are installed
    ServerSettings: TypeAlias = Any
    RoutesSettings: TypeAlias = Any
    KeepSettings: TypeAlias = Any
else:
    ServerSettings = composed.any_server()
    RoutesSettings = composed.routes()
    KeepSettings = composed.keep()

ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=40)]
NAME_RULE = "at most 40 letters, digits, - and _, the first a letter or a digit"


@dataclass(frozen=True)
class DjangoSettings:
    """A Django project, set up before anything is imported."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    settings: Annotated[str, StringConstraints(min_length=1)]
    """The settings module, as in `DJANGO_SETTINGS_MODULE`."""


@dataclass(frozen=True)
class ConsoleSettings:
    """What a supervisor asks over HTTP: `/healthz`, `/readyz`."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    bind: Address = "127.0.0.1:9000"
    """Where it listens. It tells the servers' names, addresses and troubles: not for the public."""
    required: tuple[ServerName, ...] = ()
    """Servers that count for `/readyz` also while their upstream (a broker, a mailbox) is away. Those that listen count
    always."""


@dataclass(frozen=True)
class LogSettings:
    """What the daemon writes to standard error."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    format: Literal["text", "json"] = "text"
    """`text` for people; `json`: one object a line, for machines."""
    timestamps: bool | None = None
    """Whether each record in `text` begins with the time, to the millisecond and with its offset from UTC. The default
    is yes, unless systemd's journal reads the log, which has its own times. In `json` the time is a field."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written. Of our own lines below `error`, 100 of a kind within 10 s at most: what a flood
    of bad input is beyond that is counted in the next line of its kind. At `debug` all are written."""
    tracebacks: Literal["short", "full"] = "short"
    """`short`: the line of your code that failed; `full`: every frame, as at level debug."""


def _keep_form(value: object) -> str:
    return "kinds" if isinstance(value, dict) else "all"


@dataclass(frozen=True)
class OutgoingSettings:
    """What handlers send on routes with a policy. It is stored, and tried until it has left."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    keep: Annotated[
        Annotated[Timeout, Tag("all")] | Annotated[KeepSettings, Tag("kinds")],
        Discriminator(_keep_form),
    ] = field(default_factory=KeepSettings)
    """How long an item is tried after its commit; if it fails later than that, it is dead. `5d` is for everything;
    or by kind: `{email: 5d, sms: 1d, mqtt: 5d}`, which is the default. If the other side refuses our account (a login,
    a balance), the item is kept without a limit."""

    @property
    def lives(self) -> Keep:
        return Keep(everything=self.keep) if isinstance(self.keep, float) else Keep(asdict(self.keep))


@dataclass(frozen=True)
class Settings:
    """gateway.yaml."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    servers: Annotated[dict[ServerName, ServerSettings], Field(min_length=1)]
    """The protocol servers, by name."""
    routes: RoutesSettings | None = None
    """What answers each scope type. Either this or `application`."""
    application: Target | None = None
    """An ASGI application written in Python that answers every scope type: `module.attribute` or `module:attribute`."""
    django: DjangoSettings | None = None
    """A Django project, set up before anything is imported."""
    path: str = "."
    """Where targets are imported from, seen from the file's own folder."""
    layer: Target = "memory"
    """The channel layer that groups are made on. `memory` reaches the consumers of this process. `module.attribute`
    names a layer of Channels, or a function that returns one."""
    store: Annotated[str, StringConstraints(max_length=1000)] = "sqlite:var/gateway.db"
    """The one durable store, for what is kept: messages of routes with an inbox, dead letters, what is known of
    repetitions. `sqlite:` and a path."""
    submission: SubmissionSettings | None = None
    """Where outgoing mail goes."""
    outgoing: OutgoingSettings = field(default_factory=OutgoingSettings)
    """How long the gateway tries to send what handlers send on routes with a policy."""
    threads: Annotated[int, Field(ge=1, le=1000)] = DEFAULT_SIZE
    """How many synchronous handlers run at once; more wait."""
    shutdown_timeout: Seconds = 10.0
    """How long what is in flight may take to finish after SIGTERM or Ctrl+C; then it is cancelled."""
    console: ConsoleSettings | None = None
    """Health and readiness over HTTP, for a supervisor or a load balancer; without it, none."""
    log: LogSettings = field(default_factory=LogSettings)
    """What the daemon writes to standard error."""


adapter: TypeAdapter[Settings] = TypeAdapter(Settings)
