"""The syslog scope type: what the entry point names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from gateway.delivery.attempt import Attempt
from gateway.delivery.kind import DeliveryKind
from gateway.delivery.policy import Policy
from gateway.routing.router import Route, default, route
from gateway.scopes.kind import Running, ScopeKind
from gateway.scopes.routes import WITH_POLICY, Target
from gateway.scopes.server_kind import ServerKind
from gateway_syslog.events import CHECKS, SENDS
from gateway_syslog.routes import PATTERNS, SyslogRouter
from gateway_syslog.server import SyslogSettings
from protocols.asgi import Application


class SyslogAttempt(Attempt):
    """One run of the application over a message from the store."""

    sends: ClassVar = SENDS
    checks: ClassVar = CHECKS
    syslog_accept = Attempt.decide
    syslog_reject = Attempt.decide
    syslog_defer = Attempt.decide


class SyslogDelivery(DeliveryKind):
    """How messages are kept: a scope is one message."""

    name = "syslog"
    checks = CHECKS
    content = frozenset({"text"})
    raw: ClassVar = {"syslog.receive": lambda event: event["text"].encode()}

    def order_key(self, scope: Any, events: Sequence[Any]) -> str:
        """A host's messages stay in order."""
        return f"syslog:{scope['hostname']}"

    def attempt(self, app: Application, scope: Any, events: Sequence[Any]) -> SyslogAttempt:
        return SyslogAttempt(app, scope, events)


@dataclass(frozen=True, kw_only=True)
class SyslogRoute(Policy):
    """A route of the syslog scope: by one of `app_name`, `hostname`, `facility`, `severity` or `default`."""

    __pydantic_config__: ClassVar[Any] = WITH_POLICY

    app: Target
    """What answers: `module.attribute` or `module:attribute`."""
    app_name: str | None = None
    """The program that wrote the message."""
    hostname: str | None = None
    """The machine that it comes from."""
    facility: str | None = None
    """`auth`, `daemon`, `local0` ..."""
    severity: str | None = None
    """`err`: this severity and all that are worse."""
    default: Literal[True] | None = None
    """Every message that no route before it took."""


class SyslogKind(ScopeKind):
    name = "syslog"
    words = "Syslog messages, by app name, host name, facility or severity."
    delivery = SyslogDelivery()
    servers = (ServerKind(SyslogSettings, "gateway_syslog.server:SyslogServer"),)
    route = SyslogRoute
    router = SyslogRouter
    refusal = ({"type": "syslog.reject"},)
    example = "syslog:app_name"
    send = "gateway_syslog.send:syslog"

    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        return default(target, policy) if key == "default" else route(PATTERNS[key](value), target, policy)

    def subject(self, text: str) -> dict[str, Any]:
        """``app_name``, or ``app_name@hostname``."""
        app_name, _, hostname = text.partition("@")
        return {"app_name": app_name, "hostname": hostname, "facility": "user", "severity": "info"}

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        if any(each.settings.protocol in self.protocols for each in running):
            yield f"{command} send syslog 'Hello'"


KIND = SyslogKind()
