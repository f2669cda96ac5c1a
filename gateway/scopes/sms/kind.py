"""The sms scope as one object."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Union, cast

from gateway.consumers.conversation import conversations
from gateway.delivery.outbox import Outlet
from gateway.delivery.policy import Policy
from gateway.delivery.reach import StoreReach
from gateway.recording.replay_run import ReplayRun
from gateway.routing.patterns import Pattern
from gateway.routing.router import Route, default, route
from gateway.scopes.kind import Loc, Running, ScopeKind
from gateway.scopes.reachable import is_reachable
from gateway.scopes.routes import WITH_POLICY, Target
from gateway.scopes.server_kind import Given, ServerKind
from gateway.scopes.sms.arrivals import SMSWatch
from gateway.scopes.sms.conversations import StoredConversations
from gateway.scopes.sms.delivery import SMSDelivery
from gateway.scopes.sms.patterns import Country, Keyword, Name, Phone, ShortCode, To, doubt_of, party, prefix_of
from gateway.scopes.sms.router import SMSFromRouter
from gateway.scopes.sms.routes import to
from gateway.scopes.sms.subject import subject_of
from gateway.services import Service
from protocols.asgi import Application
from protocols.lazy_names import imported
from protocols.server import Server
from protocols.setting_forms import ByForm, ByKey
from protocols.sms.events import CHECKS, RECEIPT, TEXT
from protocols.sms.providers import PROVIDERS
from protocols.sms.sending_settings import sending_of

_SETTINGS: Any = Annotated[
    Union[*(provider.settings_class for provider in PROVIDERS.values())],
    ByKey("provider"),
]


Keywords = Annotated[
    str | tuple[str, ...],
    ByForm(lambda value: "several" if isinstance(value, list) else "one", ("one", "several")),
]


@dataclass(frozen=True, kw_only=True)
class SenderRoute(Policy):
    """A route of the sms scope: by one of `sender`, `recipient`, `keyword` or `default`."""

    __pydantic_config__: ClassVar[Any] = WITH_POLICY

    app: Target
    """What answers: `module.attribute` or `module:attribute`."""
    sender: str | None = None
    """The other party: the first digits of an E.164 number (`+44`; the longest match wins), a region (`GB`), a short
    code (`"68849"`), or the name of an alphanumeric sender (`HDFCBK`)."""
    recipient: str | None = None
    """Your number that got the text, or its first digits (the longest match wins), or your short code."""
    keyword: Keywords | None = None
    """The first word of the text, or a list of words, without regard to case. STOP, START and HELP stand for all words
    that mean the same."""
    default: Literal[True] | None = None
    """Every sender that no route before it took."""


_PATTERNS: Mapping[str, Callable[[Any], Pattern]] = {"sender": party, "recipient": to, "keyword": Keyword}
_WHY: Mapping[type[Pattern], str] = {
    Country: "the number belongs to this region",
    Keyword: "the text begins with it",
    Name: "the sender has this name",
    ShortCode: "the sender is this short code",
    To: "the text is for this short code",
}


def _doubts(make: Callable[[Any], Pattern], written: str) -> Iterator[str]:
    try:
        prefix = prefix_of(make(written))
    except ValueError:  # which is a mistake, and reported
        return
    if prefix and (doubt := doubt_of(prefix)):
        yield doubt


_SENDERS = ("+447700900123", "+15005550006")
"""Numbers that belong to nobody: of Ofcom's for drama, and of Twilio's for tests."""


class _ReplayOfText(ReplayRun):
    sends: ClassVar = TEXT
    checks: ClassVar = CHECKS


class _ReplayOfReceipt(ReplayRun):
    sends: ClassVar = RECEIPT
    checks: ClassVar = CHECKS


def _no_failover(name: str, other: str, texts: Mapping[str, Any]) -> str:
    """Say why texts of ``name`` cannot leave by ``other``; empty if they can."""
    if other == name:
        return f"{name} is this server itself; name another one that sends texts"
    if other not in texts:
        known = ", ".join(sorted(texts.keys() - {name}))
        return f"no server for texts is called {other!r}" + (f"; there is {known}" if known else "")
    lacking: str = texts[other].lacks_to_send
    return f"{other} cannot send texts; write {lacking} at servers.{other}" if lacking else ""


class _TextServer(ServerKind):
    def options(self, settings: Any, name: str, given: Given) -> dict[str, Any]:
        if given.store is None:
            return {}
        return {"sent_texts": imported("gateway.scopes.sms.sent_texts:StoredTexts")(given.store)}


class SMSKind(ScopeKind):
    name: ClassVar = "sms"
    traced: ClassVar = "gateway.scopes.sms.tracing:TracedText"
    watch: ClassVar = SMSWatch
    words: ClassVar = "Text messages, by sender, by recipient or by keyword."
    noun: ClassVar = "texts"
    delivery: ClassVar = SMSDelivery()
    servers: ClassVar = (_TextServer(_SETTINGS, "protocols.sms.webhook:SMSWebhook"),)
    route: ClassVar = SenderRoute
    router: ClassVar = SMSFromRouter
    refusal: ClassVar = ({"type": "sms.reject", "reason": "no route"},)
    not_protocols: ClassVar = {name: f"sms, with provider: {name}" for name in PROVIDERS}
    example: ClassVar = "sms:+447700900123"
    aliases: ClassVar = ("text", "tel")
    bare: ClassVar = r"\+[\d\s().-]+"
    send: ClassVar = "gateway.scopes.sms.send:sms"
    dashes: ClassVar = True

    def services(self, routed: Callable[[], Application], file: str, reach: StoreReach) -> Mapping[Service[Any], Any]:
        return {conversations: StoredConversations(reach)}

    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        return default(target, policy) if key == "default" else route(_PATTERNS[key](value), target, policy)

    def doubts(self, line: Any) -> Iterator[tuple[str, str]]:
        for key in ("sender", "recipient"):
            if (written := getattr(line, key)) is not None:
                yield from ((key, doubt) for doubt in _doubts(_PATTERNS[key], written))

    def doubts_of_servers(self, settings: Any) -> Iterator[tuple[str, str, str]]:
        for name, each in self._servers(settings).items():
            provider = PROVIDERS[each.provider]
            if (most := provider.time_for(each.timeout)) < each.timeout:
                waits = f"{each.provider} waits for {provider.deadline:g} s, so the answer is sent after {most:g} s"
                yield name, "timeout", f"{waits}; write at most {most:g} s"

    def reason(self, pattern: Pattern, scope: Mapping[str, Any]) -> str:
        if prefix := prefix_of(pattern):
            number = "recipient" if isinstance(pattern, To) else "sender"
            return f"of the prefixes of routes.{self.name} that the {number} begins with, {prefix} is the longest"
        why = next((why for kind, why in _WHY.items() if isinstance(pattern, kind)), "")
        return super().reason(pattern, scope) + (f": {why}" if why else "")

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        events = events or [{"type": "sms.receive", "text": "", "media": []}]
        run = _ReplayOfReceipt if events[0]["type"] == "sms.status" else _ReplayOfText
        return run(app, scope, events)

    def subject(self, text: str) -> dict[str, Any]:
        return subject_of(text)

    def senders(self, settings: Any) -> Mapping[str, Mapping[str, Any]]:
        return {
            name: {
                "listener": name,
                "provider": each.provider,
                "number": each.number,
                "max_media": sending_of(each).max_media,
                "has_url": bool(getattr(each, "public_url", None)),
            }
            for name, each in self._servers(settings).items()
            if not each.lacks_to_send
        }

    def lacking(self, settings: Any) -> str:
        for name, each in self._servers(settings).items():
            return f"write {each.lacks_to_send} at servers.{name}"
        return super().lacking(settings)

    def outlet(self, servers: Collection[Server], given: Given) -> Outlet | None:
        return cast("Outlet", imported("gateway.scopes.sms.outlet:TextOutlet")(servers, given.store))

    def mistakes(self, servers: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
        texts = {name: each for name, each in servers.items() if each.protocol in self.protocols}
        for name, each in texts.items():
            for number, other in enumerate(sending_of(each).failover):
                if said := _no_failover(name, other, texts):
                    yield ("servers", name, "sending", "failover", number), said

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        first = next((each for each in running if each.settings.protocol in self.protocols), None)
        carriers = {each.server.name: each.settings for each in running}
        if first is not None and is_reachable(carriers[first.settings.on]):
            prefixes = [route.pattern.prefix.ljust(12, "0") for route in routes if isinstance(route.pattern, Phone)]
            for sender in islice((each for each in (*_SENDERS, *prefixes) if self.is_taken(first, each)), 1):
                yield f"{command} send sms {sender} 'Hello'"
