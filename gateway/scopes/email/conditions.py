"""Conditions of a route that are about the message: its kind, its sender, and who vouches for that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypedDict, get_args

from gateway.routing.patterns import Captures, Condition, Pattern
from gateway.scopes.email.patterns import Address, Domain, MailKey, Narrowed, whole_domain
from protocols.asgi import EmailScope
from protocols.mail.headers import first
from protocols.mail.message import Kind
from protocols.mail.message.address import addresses

Method = Literal["spf", "dkim", "dmarc", "arc"]
"""What may verify a sender; see ``scope["authentication"]``."""
Result = Literal["pass", "fail", "none", "softfail", "neutral", "temperror", "permerror"]
"""What a method may find (RFC 8601)."""


class RouteOptions(TypedDict, total=False):
    """What a route of the email scope may say beside the address."""

    kind: Kind | Sequence[Kind]
    """The route takes only messages of this kind, or one of these."""
    require: Mapping[Method, Result]
    """The route takes only messages that were verified with these results: ``{"dmarc": "pass"}``."""
    sender: str
    """The route takes only what this address says that it has written. Anybody can say so, unless ``require`` has
    dmarc."""
    sender_domain: str
    """The same, for every address at one domain."""
    reply_to: Literal["header", "envelope"]
    """Where answers go: to the addresses in the message (Reply-To, else From), or to the envelope's sender."""


class Facts:
    """What is known of a message once it is here."""

    def __init__(self, scope: EmailScope) -> None:
        self._scope = scope

    @cached_property
    def sender(self) -> str:
        return author(self._scope)

    @property
    def kind(self) -> str:
        return self._scope.get("kind", "")

    def result(self, method: str) -> str | None:
        return (self._scope["authentication"] or {}).get(method)


def author(scope: EmailScope) -> str:
    """Return the address in From, of which anybody may write any; the envelope's sender if there is none.

    It is read as ``authentication`` reads it, and the handler.
    """
    found = addresses(first(scope["headers"], b"from") or b"")
    return found[0] if found else scope["mail_from"]


@dataclass(frozen=True)
class Conditions:
    """All of them must be met. Raises ValueError for what is no kind, no method, no address."""

    kinds: tuple[str, ...] = ()
    results: tuple[tuple[str, str], ...] = ()
    senders: tuple[Address | Domain, ...] = ()

    def __post_init__(self) -> None:
        _check("kind", self.kinds, get_args(Kind))
        _check("require", [method for method, _ in self.results], get_args(Method))
        _check("require", [result for _, result in self.results], get_args(Result))

    def __bool__(self) -> bool:
        return bool(self.kinds or self.results or self.senders)

    def met(self, facts: Facts) -> bool:
        return (
            (not self.kinds or facts.kind in self.kinds)
            and all(facts.result(method) == result for method, result in self.results)
            and all(pattern.match(facts.sender) is not None for pattern in self.senders)
        )

    def __str__(self) -> str:
        kinds = [f"kind {' or '.join(self.kinds)}"] if self.kinds else []
        return ", ".join([*kinds, *map(" ".join, self.results), *(f"from {sender}" for sender in self.senders)])


def _check(key: str, given: Sequence[str], known: Sequence[str]) -> None:
    for word in given:
        if word not in known:
            raise ValueError(f"{key}: {word!r} is not one of {', '.join(known)}")


def conditions_of(options: RouteOptions) -> Conditions:
    """Raises ValueError."""
    kind = options.get("kind", ())
    senders: list[Address | Domain] = []
    if "sender" in options:
        if domain := whole_domain(options["sender"]):
            raise ValueError(f"sender: {options['sender']!r} is a whole domain; write sender_domain: {domain}")
        senders.append(Address(options["sender"]))
    if "sender_domain" in options:
        senders.append(Domain(options["sender_domain"]))
    kinds: Any = (kind,) if isinstance(kind, str) else tuple(kind)
    return Conditions(kinds, tuple(options.get("require", {}).items()), tuple(senders))


@dataclass(frozen=True)
class When(Narrowed):
    """A pattern that takes only messages that meet conditions. While a message is not here yet, they may be met."""

    inner: Pattern
    when: Conditions

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return self.inner.conditions

    @property
    def sample(self) -> str | None:
        return self.inner.sample

    def match(self, key: str) -> Captures | None:
        facts = key.facts if isinstance(key, MailKey) else None
        return self.inner.match(key) if facts is None or self.when.met(facts) else None

    def covers(self, other: Pattern) -> bool:
        """Whether it takes every message that ``other`` takes: only under the same conditions."""
        return isinstance(other, When) and self.when == other.when and self.inner.covers(other.inner)

    def __str__(self) -> str:
        return f"{self.inner} ({self.when})"
