"""The sms scope as one object."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Union

from gateway.delivery.policy import Policy
from gateway.recording.replay_run import ReplayRun
from gateway.routing.router import Route, default
from gateway.scopes.kind import Running, ScopeKind
from gateway.scopes.reachable import is_reachable
from gateway.scopes.routes import WITH_POLICY, Target
from gateway.scopes.server_kind import ServerKind
from gateway.scopes.sms.arrivals import SMSWatch
from gateway.scopes.sms.delivery import SMSDelivery
from gateway.scopes.sms.patterns import Phone, country, phone
from gateway.scopes.sms.router import SMSFromRouter
from protocols.asgi import Application
from protocols.lazy_names import imported
from protocols.setting_forms import ByKey
from protocols.sms.events import CHECKS, RECEIPT, TEXT
from protocols.sms.providers import PROVIDERS
from protocols.sms.senders import as_sent

_SETTINGS: Any = Annotated[
    Union[*(provider.settings_class for provider in PROVIDERS.values())],
    ByKey("provider"),
]


@dataclass(frozen=True, kw_only=True)
class SenderRoute(Policy):
    """A route of the sms scope: by `sender` or `default`."""

    __pydantic_config__: ClassVar[Any] = WITH_POLICY

    app: Target
    """What answers: `module.attribute` or `module:attribute`."""
    sender: str | None = None
    """The beginning of an E.164 number (`+44`), or a region (`GB`)."""
    default: Literal[True] | None = None
    """Every sender that no route before it took."""


_SENDERS = ("+447700900123", "+15005550006")
"""Numbers that belong to nobody: of Ofcom's for drama, and of Twilio's for tests."""


class _ReplayOfText(ReplayRun):
    sends: ClassVar = TEXT
    checks: ClassVar = CHECKS


class _ReplayOfReceipt(ReplayRun):
    sends: ClassVar = RECEIPT
    checks: ClassVar = CHECKS


class SMSKind(ScopeKind):
    name: ClassVar = "sms"
    traced: ClassVar = "gateway.scopes.sms.tracing:TracedText"
    watch: ClassVar = SMSWatch
    words: ClassVar = "Text messages, by sender."
    noun: ClassVar = "texts"
    delivery: ClassVar = SMSDelivery()
    servers: ClassVar = (ServerKind(_SETTINGS, "protocols.sms.webhook:SMSWebhook"),)
    route: ClassVar = SenderRoute
    router: ClassVar = SMSFromRouter
    refusal: ClassVar = ({"type": "sms.reject", "reason": "no route"},)
    not_protocols: ClassVar = {name: f"sms, with provider: {name}" for name in PROVIDERS}
    example: ClassVar = "sms:+447700900123"
    aliases: ClassVar = ("text", "tel")
    bare: ClassVar = r"\+[\d\s().-]+"
    send: ClassVar = "gateway.scopes.sms.send:sms"
    dashes: ClassVar = True

    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        if key == "default":
            return default(target, policy)
        return (country if value.isalpha() else phone)(value, target, policy)

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        events = events or [{"type": "sms.receive", "text": "", "media": []}]
        run = _ReplayOfReceipt if events[0]["type"] == "sms.status" else _ReplayOfText
        return run(app, scope, events)

    def subject(self, text: str) -> dict[str, Any]:
        sender = as_sent(text)
        return {"sender": sender, "country": imported("protocols.sms.country:country")(sender)}

    def senders(self, settings: Any) -> Mapping[str, Mapping[str, Any]]:
        return {
            name: {"listener": name, "provider": each.provider, "number": each.number}
            for name, each in self._servers(settings).items()
            if not each.lacks_to_send
        }

    def lacking(self, settings: Any) -> str:
        for name, each in self._servers(settings).items():
            return f"write {each.lacks_to_send} at servers.{name}"
        return super().lacking(settings)

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        first = next((each for each in running if each.settings.protocol in self.protocols), None)
        carriers = {each.server.name: each.settings for each in running}
        if first is not None and is_reachable(carriers[first.settings.on]):
            prefixes = [route.pattern.prefix.ljust(12, "0") for route in routes if isinstance(route.pattern, Phone)]
            for sender in islice((each for each in (*_SENDERS, *prefixes) if self.is_taken(first, each)), 1):
                yield f"{command} send sms {sender} 'Hello'"
