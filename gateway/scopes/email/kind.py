"""The email scope as one object."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Literal

from gateway.delivery.outbox import Outlet
from gateway.delivery.policy import Policy
from gateway.routing.router import Route
from gateway.scopes.email.delivery import EmailDelivery
from gateway.scopes.email.router import EmailToRouter
from gateway.scopes.email.routes import address, domain, everything, regex
from gateway.scopes.kind import Loc, Running, ScopeKind
from gateway.scopes.persistence import StorePersistence
from gateway.scopes.routes import WITH_POLICY, Target
from gateway.scopes.sending import is_reachable
from gateway.scopes.server_kind import Given, ServerKind
from protocols.access.users import PasswordFile
from protocols.asgi import DSNRequest
from protocols.events import Event, checked
from protocols.mail.events import CHECKS
from protocols.mail.imap.settings import IMAPSettings
from protocols.mail.smtp.settings import SMTPSettings
from protocols.server import Server


@dataclass(frozen=True, kw_only=True)
class RecipientRoute(Policy):
    """A route of the email scope: by one of `recipient`, `address`, `domain` or `default`."""

    __pydantic_config__: ClassVar[Any] = WITH_POLICY

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
            options["ledgers"] = partial(StorePersistence, given.store)
        return options


class EmailKind(ScopeKind):
    name: ClassVar = "email"
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
    refusal: ClassVar = ({"type": "email.reject", "code": 550, "reason": "5.1.1 no such recipient here"},)
    example: ClassVar = "email:ann@example.org"
    send: ClassVar = "gateway.scopes.email.send:email"

    def mistakes(self, servers: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
        yield from _password_files(servers)
        yield from _two_readers(servers)

    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        return {"recipient": regex, "address": address, "domain": domain, "default": everything}[key](
            value, target, policy
        )

    def subject(self, text: str) -> dict[str, Any]:
        if not all(text.rpartition("@")) or re.search(r"[\s<>]", text):
            raise ValueError(f"{text!r} is not a mail address; write {self.example}")
        return {"rcpt_to": [text], "mail_from": "", "headers": []}

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        smtp = (each.settings for each in running if each.settings.protocol == "smtp")
        first = next((settings for settings in smtp if settings.auth != "required"), None)
        if first is not None and is_reachable(first):
            for recipient in islice(_recipients(routes), 1):
                yield f"{command} send email {recipient} 'Hello'"

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


def _recipients(routes: Sequence[Route]) -> Iterator[str]:
    """Addresses that some route takes, where that is easily seen."""
    for route in routes:
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
    readers: dict[tuple[object, ...], str] = {}
    for name, settings in servers.items():
        for folder in settings.full_names() if isinstance(settings, IMAPSettings) else ():
            if (other := readers.setdefault(folder, name)) != name:
                said = f"servers.{other} reads {folder[-1]} of {folder[-2]}, too; a folder has one reader"
                yield ("servers", name), f"servers.{name}: {said}"
