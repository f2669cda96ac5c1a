"""Everything that gateway.yaml may say, as one strict model: the servers' own settings, composed.

A field is declared once, here or beside its server; that gives the parser, the default, the JSON Schema, the reference
in ``docs/configuration.md`` and the errors.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Discriminator, Field, StringConstraints, Tag, TypeAdapter

from gateway.delivery.keep import Keep
from gateway.delivery.policy import Policy
from gateway.threads import DEFAULT_SIZE
from protocols.http.settings import HTTPSettings
from protocols.mail.imap.reader import IMAPSettings
from protocols.mail.smtp.settings import SMTPSettings
from protocols.mail.submission import SubmissionSettings
from protocols.mqtt.client.client import MQTTClientSettings
from protocols.mqtt.settings import MQTTSettings
from protocols.server import SETTINGS_CONFIG
from protocols.sms import GenericSettings, TwilioSettings
from protocols.units import Address, Seconds, Timeout

SMSSettings = Annotated[TwilioSettings | GenericSettings, Field(discriminator="provider")]
ServerSettings = Annotated[
    HTTPSettings | MQTTSettings | MQTTClientSettings | SMTPSettings | IMAPSettings | SMSSettings,
    Field(discriminator="protocol"),
]
ServerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=40)]
NAME_RULE = "at most 40 letters, digits, - and _, the first a letter or a digit"
Target = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_POLICY_KEYS: dict[str, Any] = TypeAdapter(Policy).json_schema()["properties"]


def _own_keys_first(schema: dict[str, Any]) -> None:
    """pydantic puts a parent's fields first, and reads the docstrings of a class's own source alone."""
    own = {key: value for key, value in schema["properties"].items() if key not in _POLICY_KEYS}
    schema["properties"] = own | _POLICY_KEYS


_WITH_POLICY = {**SETTINGS_CONFIG, "json_schema_extra": _own_keys_first}


@dataclass(frozen=True)
class PathRoute:
    """A route of the http or websocket scope."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    app: Target
    """What answers: `module.attribute`, `module:attribute`, or `django`."""
    path: str | None = None
    """A regular expression, searched in the path without its leading slash, as Django does."""


@dataclass(frozen=True, kw_only=True)
class TopicRoute(Policy):
    """A route of the mqtt scope."""

    __pydantic_config__: ClassVar[Any] = _WITH_POLICY

    app: Target
    """What answers: `module.attribute` or `module:attribute`."""
    topic: str | None = None
    """An MQTT topic filter, with `+` for one level and `#` for the rest; `{sensor}` is one level too, and reaches the
    handler under that name."""


@dataclass(frozen=True, kw_only=True)
class RecipientRoute(Policy):
    """A route of the email scope: by one of `recipient`, `address`, `domain` or `default`."""

    __pydantic_config__: ClassVar[Any] = _WITH_POLICY

    app: Target
    """What answers: `module.attribute` or `module:attribute`."""
    recipient: str | None = None
    """A regular expression, searched in the recipient's address without regard to case."""
    address: str | None = None
    """One address."""
    domain: str | None = None
    """Every address at one domain."""
    default: Literal[True] | None = None
    """Every recipient that no route before it took."""


@dataclass(frozen=True, kw_only=True)
class SenderRoute(Policy):
    """A route of the sms scope: by `sender` or `default`."""

    __pydantic_config__: ClassVar[Any] = _WITH_POLICY

    app: Target
    """What answers: `module.attribute` or `module:attribute`."""
    sender: str | None = None
    """The beginning of an E.164 number (`+44`), or a region (`GB`)."""
    default: Literal[True] | None = None
    """Every sender that no route before it took."""


R = TypeVar("R")


def _form(value: object) -> str:
    """Which of the three ways of writing routes this is."""
    if isinstance(value, dict):
        return "route"
    return "routes" if isinstance(value, list) else "target"


Routes = Annotated[
    Annotated[Target, Tag("target")]
    | Annotated[R, Tag("route")]
    | Annotated[list[R], Tag("routes"), Field(min_length=1)],
    Discriminator(_form),
]
"""A target for everything, one route, or a list of routes of which the first that matches answers."""


@dataclass(frozen=True)
class RoutesSettings:
    """What answers each scope type: a target, one route, or a list of routes of which the first that matches wins."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    http: Routes[PathRoute] | None = None
    """HTTP requests, by path."""
    websocket: Routes[PathRoute] | None = None
    """WebSocket connections, by path."""
    mqtt: Routes[TopicRoute] | None = None
    """MQTT connections, by topic."""
    email: Routes[RecipientRoute] | None = None
    """Messages, by recipient."""
    sms: Routes[SenderRoute] | None = None
    """Text messages, by sender."""


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
        Annotated[Timeout, Tag("all")] | Annotated[Keep, Tag("kinds")],
        Discriminator(_keep_form),
    ] = field(default_factory=Keep)
    """How long an item is tried after its commit; if it fails later than that, it is dead. `5d` is for everything;
    or by kind: `{email: 5d, sms: 1d, mqtt: 5d}`, which is the default. If the other side refuses our account (a login,
    a balance), the item is kept without a limit."""

    @property
    def lives(self) -> Keep:
        """By kind."""
        return self.keep if isinstance(self.keep, Keep) else Keep.all(self.keep)


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
