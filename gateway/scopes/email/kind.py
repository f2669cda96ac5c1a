"""The email scope as one object."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, get_args

from gateway.delivery.outbox import Outlet
from gateway.delivery.policy import Policy
from gateway.recording.replay_run import ReplayRun
from gateway.routing.patterns import Pattern
from gateway.routing.router import Route
from gateway.scopes.email.arrivals import EmailWatch
from gateway.scopes.email.conditions import Method, Result, RouteOptions
from gateway.scopes.email.delivery import EmailDelivery
from gateway.scopes.email.doubts import doubt_of
from gateway.scopes.email.patterns import Narrowed
from gateway.scopes.email.postmaster import postmaster
from gateway.scopes.email.relay import relay
from gateway.scopes.email.router import NOT_HERE, EmailToRouter
from gateway.scopes.email.routes import address, domain, everything, regex
from gateway.scopes.kind import Loc, Running, ScopeKind
from gateway.scopes.persistence import Ledgers
from gateway.scopes.reachable import is_reachable
from gateway.scopes.routes import WITH_POLICY, Target
from gateway.scopes.server_kind import Given, ServerKind
from protocols.access.users import PasswordFile
from protocols.asgi import Application, DSNRequest
from protocols.events import Event, checked
from protocols.mail.addresses import check_address
from protocols.mail.events import CHECKS, SENDS
from protocols.mail.imap.names import overlap
from protocols.mail.imap.settings import IMAPSettings
from protocols.mail.message import Kind
from protocols.mail.recipients import recipient
from protocols.mail.smtp.settings import SMTPSettings
from protocols.server import SETTINGS_CONFIG, Server
from protocols.setting_forms import ByForm

Kinds = Annotated[
    Kind | tuple[Kind, ...],
    ByForm(lambda value: "several" if isinstance(value, list) else "one", ("one", "several")),
]


@dataclass(frozen=True, kw_only=True)
class Required:
    """Results of checks of the sender (RFC 8601)."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    dmarc: Result | None = None
    """Whether the domain in From stands behind the message."""
    dkim: Result | None = None
    """Whether a signature is valid, of whatever domain."""
    spf: Result | None = None
    """Whether the domain of the envelope's sender lets the peer send its mail."""
    arc: Result | None = None
    """Whether the seals of forwarders are unbroken."""


@dataclass(frozen=True, kw_only=True)
class RecipientRoute(Policy):
    """A route of the email scope: by one of `recipient`, `address`, `domain` or `default`. It may have conditions:
    `kind`, `sender`, `sender_domain`, `require`; with one of those and none of the four it is for every recipient."""

    __pydantic_config__: ClassVar[Any] = WITH_POLICY

    app: Target
    """What answers: `module.attribute` or `module:attribute`."""
    recipient: str | None = None
    """A regular expression, searched in the recipient's address without regard to case. Its groups are arguments of the
    handler by their names."""
    address: str | None = None
    """One address, also with a tag (`help+bill7@example.org`)."""
    domain: str | None = None
    """Every address at one domain. An internationalized one may be written in either form."""
    default: Literal[True] | None = None
    """Every recipient that no route before it took."""
    kind: Kinds | None = None
    """Takes only messages of this kind: written by a `person`, a `bounce`, an `auto-reply`, a `report`, of a mailing
    `list`, from our `own` address. Or a list of kinds."""
    sender: str | None = None
    """Takes only messages whose From has this address. Anybody can write it there: add `require: {dmarc: pass}`."""
    sender_domain: str | None = None
    """Takes only messages whose From has an address at this domain; the same holds for it."""
    require: Required | None = None
    """Takes only messages that were verified with these results: `{dmarc: pass}`. The server needs `authentication`."""
    reply_to: Literal["header", "envelope"] | None = None
    """Where answers go: `header` (Reply-To, else From), or `envelope` (its sender: for automatic answers)."""


class _MailServer(ServerKind):
    def options(self, settings: Any, name: str, given: Given) -> dict[str, Any]:
        """Handlers' mail leaves where all mail does."""
        return {"submission": given.submission, **super().options(settings, name, given)}


_MAKERS = {"recipient": regex, "address": address, "domain": domain, "default": everything}


class _Mailboxes(_MailServer):
    def needs_store(self, settings: Any) -> bool:
        return settings.configured and super().needs_store(settings)

    def options(self, settings: Any, name: str, given: Given) -> dict[str, Any]:
        """Each folder's ledger is kept under a name of its own."""
        options: dict[str, Any] = {"submission": given.submission}
        if given.store is not None and self.needs_store(settings):
            options["ledgers"] = Ledgers(given.store)
        return options


class _Replay(ReplayRun):
    sends: ClassVar = SENDS
    checks: ClassVar = CHECKS


class EmailKind(ScopeKind):
    name: ClassVar = "email"
    traced: ClassVar = "gateway.scopes.email.tracing:TracedEmail"
    watch: ClassVar = EmailWatch
    words: ClassVar = "Messages, by recipient."
    delivery: ClassVar = EmailDelivery()
    servers: ClassVar = (
        _MailServer(SMTPSettings, "protocols.mail.smtp.server:SMTPServer"),
        _Mailboxes(
            IMAPSettings,
            "protocols.mail.imap.reader:IMAPReader",
            library="aioimaplib",
            install="asgi-gateway[imap]",
        ),
    )
    route: ClassVar = RecipientRoute
    router: ClassVar = EmailToRouter
    options: ClassVar = tuple(RouteOptions.__annotations__)
    enough: ClassVar = dict.fromkeys(("kind", "require", "sender", "sender_domain"), "default")
    refusal: ClassVar = (NOT_HERE,)
    not_protocols: ClassVar = {
        **dict.fromkeys(("email", "mail"), "smtp, to which mail is sent, or imap, which reads a mailbox"),
        "smtps": "smtp, with tls: {certificate: ..., key: ...} and implicit_tls: true",
        "imaps": "imap, which has TLS",
        "pop3": "imap",
    }
    example: ClassVar = "email:ann@example.org"
    aliases: ClassVar = ("mail", "mailto")
    bare: ClassVar = "[^/:]+@[^/:]+"
    send: ClassVar = "gateway.scopes.email.send:email"

    def mistakes(self, servers: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
        yield from _password_files(servers)
        yield from _two_readers(servers)

    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        return _MAKERS[key](value, target, policy)

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        unread = {"type": "email.receive", "body": b"", "more_body": False}
        return _Replay(app, scope, events or [unread])

    def route_of(self, key: str, line: Any, target: Any, policy: Policy) -> Route:
        options = _given(line, self.options)
        if line.require is not None:
            options["require"] = _given(line.require, get_args(Method))
        return _MAKERS[key](getattr(line, key), target, policy, **options)

    def doubts(self, line: Any) -> Iterator[tuple[str, str]]:
        if line.recipient is not None and (doubt := doubt_of(line.recipient)) is not None:
            yield "recipient", f"'{line.recipient}': {doubt}"
        for key in ("sender", "sender_domain"):
            if getattr(line, key) is not None and (line.require is None or line.require.dmarc != "pass"):
                yield key, "anybody can write this address into From; add require: {dmarc: pass}"

    def router_of(self, routes: Sequence[Route], settings: Any, target: Callable[[str], Any]) -> EmailToRouter:
        given = settings.postmaster
        if given is None or any(self._wrong_postmaster(settings)):  # which are reported
            return EmailToRouter(routes)
        return EmailToRouter(routes, postmaster=given if "@" in given else target("postmaster"))

    def mistakes_of(self, settings: Any) -> Iterator[tuple[Loc, str]]:
        yield from self._wrong_postmaster(settings)
        verified = any(getattr(server, "authentication", None) for server in settings.servers.values())
        lines = getattr(settings.routes, self.name, None)
        for number, line in enumerate(lines if isinstance(lines, list) else ()):
            place = ("routes", self.name, number)
            if line.require is not None and not verified:
                said = "require: no server verifies who a message is from; write authentication: at the server"
                yield (*place, "require"), said
            if line.atomic and str(line.app).replace(":", ".") == relay.target_name:
                said = f"atomic: {relay.target_name} writes no rows; leave it out: with a policy, such as attempts, "
                yield (*place, "atomic"), f"{said}the mail that leaves and the note that it is handled are one commit"

    def _wrong_postmaster(self, settings: Any) -> Iterator[tuple[Loc, str]]:
        given, place = settings.postmaster, ("postmaster",)
        if given is None:
            return
        if not isinstance(getattr(settings.routes, self.name, None), list):
            yield place, "postmaster: it has no effect, because routes.email is not a list of routes"
        elif "@" in given:
            yield from ((place, f"postmaster: {error}") for error in _faults(given))
            if settings.submission is None:
                yield place, "postmaster: it is an address, and nothing can be sent to it: write submission"

    def subject(self, text: str) -> dict[str, Any]:
        try:
            address = check_address(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a mail address; write {self.example}") from error
        return {
            "rcpt_to": [address],
            "recipients": [recipient(address)],
            "mail_from": "",
            "headers": [],
            "authentication": None,
            "transport": "smtp",
            "user": None,
            "extensions": {},
        }

    def as_received(self, scope: dict[str, Any], servers: Mapping[str, Any]) -> dict[str, Any]:
        """With the tag that the first server for mail finds."""
        mail = (each for each in servers.values() if isinstance(each, SMTPSettings | IMAPSettings))
        settings = next(mail, None)
        if settings is None:
            return scope
        recipients = [recipient(each, delimiters=settings.recipient_delimiter) for each in scope["rcpt_to"]]
        return {**scope, "recipients": recipients}

    def captures(self, pattern: Pattern, scope: Mapping[str, Any]) -> dict[str, str] | None:
        found = pattern.match(scope["rcpt_to"][0])
        return found.kwargs or None if found else None

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        first = next((each for each in running if each.settings.protocol == "smtp"), None)
        if first is not None and first.settings.auth != "required" and is_reachable(first.settings):
            taken = (each for each in _recipients(routes) if self.is_taken(first, each))
            for recipient in islice(taken, 1):
                yield f"{command} send email {recipient} 'Hello'"

    def senders(self, settings: Any) -> Mapping[str, Mapping[str, Any]]:
        """All mail leaves by the one submission server."""
        return {} if settings.submission is None else {"": {"listener": ""}}

    def lacking(self, settings: Any) -> str:
        return "write submission: smtp://HOST:587"

    def outlet(self, servers: Iterable[Server], given: Given) -> Outlet | None:
        """All mail leaves by the one submission server. None: there is none in the file."""
        if (submission := given.submission) is None:
            return None

        async def submit(listener: str, event: Event) -> None:
            mail = checked(CHECKS, event)
            dsn: DSNRequest | None = mail.get("dsn")
            if dsn is not None and "envid" not in dsn:
                dsn = {**dsn, "envid": event["id"]}
            await submission.submit(mail["mail_from"], mail["rcpt_to"], mail["message"], dsn=dsn)

        return submit


def _faults(address: str) -> Iterator[str]:
    try:
        postmaster(address)
    except ValueError as error:
        yield str(error)


def _given(settings: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: given for name in names if (given := getattr(settings, name)) is not None}


def _recipients(routes: Sequence[Route]) -> Iterator[str]:
    """Addresses that some route takes without a condition, where that is easily seen."""
    for route in routes:
        if isinstance(route.pattern, Narrowed):
            continue
        text = str(route.pattern).replace("\\.", ".").removesuffix("$").removeprefix("^")
        if text in ("email", "default"):
            yield "ann@example.org"
        elif re.fullmatch(r"[a-z0-9-]*@[a-z0-9.-]+", text):
            yield f"ann{text}" if text.startswith("@") else text


def _password_files(servers: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    for name, settings in servers.items():
        try:
            if isinstance(settings, SMTPSettings) and settings.password_file is not None:
                PasswordFile(settings.password_file, name)
        except ValueError as error:
            yield ("servers", name, "password_file"), f"servers.{name}: {error}"


def _two_readers(servers: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Find folders that two servers read: each would handle every message."""
    readers: dict[tuple[object, ...], list[tuple[str, str]]] = {}
    for name, settings in servers.items():
        for *account, folder in settings.full_names() if isinstance(settings, IMAPSettings) else ():
            others = readers.setdefault(tuple(account), [])
            for other, theirs in others:
                if other != name and overlap(folder, theirs):
                    also = "" if folder == theirs else f", by {theirs}"
                    said = f"servers.{other} reads {folder} of {account[-1]}, too{also}; a folder has one reader"
                    yield ("servers", name), f"servers.{name}: {said}"
                    break
            others.append((name, folder))
