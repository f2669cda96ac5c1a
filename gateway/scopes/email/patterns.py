"""Mail addresses and their domains, as patterns of routes."""

import re
from dataclasses import dataclass, field
from typing import Any

from gateway.routing.patterns import NO_CAPTURES, Captures, Condition, Pattern, Regex
from protocols.mail.addresses import check_address, check_domain, unicode_form

RESERVED = frozenset({"postmaster", "abuse"})
"""Names of people who always get their mail (RFC 5321 4.5.1, RFC 2142 4)."""


def is_reserved(address: str) -> bool:
    return address.partition("@")[0].casefold() in RESERVED


class MailKey(str):
    """What patterns look at: an address, and what is known beside it."""

    __slots__ = ("base", "facts")

    base: str
    """The address without its tag."""
    facts: Any
    """The :class:`~gateway.scopes.email.conditions.Facts` of the message; None: it is not here yet."""


def mail_key(address: str, base: str, facts: Any) -> MailKey:
    key = MailKey(address)
    key.base, key.facts = base, facts
    return key


class Narrowed(Pattern):
    """A pattern that takes a part of what ``inner`` takes."""

    inner: Pattern


def whole(pattern: Pattern) -> Pattern:
    """Return the pattern without its conditions."""
    return pattern.inner if isinstance(pattern, Narrowed) else pattern


def whole_domain(text: str) -> str:
    """Return the domain of ``*@example.org`` and ``@example.org``, which are no addresses; else nothing."""
    found = re.fullmatch(r"\*?@([^@*]+)", text)
    return found[1] if found else ""


@dataclass(frozen=True)
class Address(Pattern):
    """One mail address, without regard to case, also with a tag. Its domain may be written in both forms (IDNA)."""

    address: str = field(compare=False)
    _key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if domain := whole_domain(self.address):
            raise ValueError(f"{self.address!r} is a whole domain and not an address; write domain: {domain}")
        if "*" in self.address and not self.address.startswith('"'):
            regex = self.address.replace(".", r"\.").replace("*", ".*")
            raise ValueError(f"{self.address!r}: an address has no wildcards; write recipient: '^{regex}$'")
        try:
            key = check_address(self.address)
        except ValueError as error:
            raise ValueError(f"{self.address!r} is not a mail address; write help@example.org") from error
        object.__setattr__(self, "_key", key.casefold())

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("text", self._key),)

    @property
    def sample(self) -> str:
        return self._key

    def match(self, key: str) -> Captures | None:
        if key.casefold() == self._key:
            return NO_CAPTURES
        return NO_CAPTURES if isinstance(key, MailKey) and key.base.casefold() == self._key else None

    def covers(self, other: Pattern) -> bool:
        return self == whole(other)

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True)
class Domain(Pattern):
    """Every address at one domain, and not at its subdomains. It may be written in both forms (IDNA)."""

    domain: str = field(compare=False)
    _key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.domain.startswith("*."):
            regex = self.domain.removeprefix("*").replace(".", r"\.")
            raise ValueError(f"{self.domain!r}: a domain has no wildcards; write recipient: '@.*{regex}$'")
        try:
            key = check_domain(self.domain)
        except ValueError as error:
            raise ValueError(f"{self.domain!r} is not a domain; write example.org") from error
        object.__setattr__(self, "_key", key.casefold())

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("domain", self._key),)

    @property
    def sample(self) -> str:
        return f"@{self._key}"

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.rpartition("@")[2].casefold() == self._key else None

    def covers(self, other: Pattern) -> bool:
        """Not an address of the postmaster, whose route goes before one by domain."""
        pattern = whole(other)
        if not isinstance(pattern, Address):
            return self == pattern
        return not is_reserved(pattern.sample) and self.match(pattern.sample) is not None

    def __str__(self) -> str:
        return f"@{self.domain}"


@dataclass(frozen=True)
class AddressRegex(Regex):
    """A regular expression over an address, without regard to case.

    One with letters outside ASCII is also searched in the form of the address that people write: ``@bücher\\.example$``
    takes what comes for ``xn--bcher-kva.example``.
    """

    ignore_case: bool = True

    def __post_init__(self) -> None:
        if self.text.startswith("*") and (domain := whole_domain(self.text)):
            raise ValueError(f"{self.text!r} is not a regular expression; write domain: {domain}")
        super().__post_init__()

    @property
    def names(self) -> frozenset[str]:
        """The names of its groups."""
        return frozenset(self._compiled.groupindex)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return super().conditions if self.text.isascii() else ()  # what it begins or ends with has two forms

    def match(self, key: str) -> Captures | None:
        found = super().match(key)
        if found is not None or self.text.isascii():
            return found
        written = unicode_form(key)
        return None if written == key else super().match(written)
