"""Mail addresses and their domains, as patterns of routes, and the routes by them."""

import re
from dataclasses import dataclass
from typing import Any

from gateway.delivery.policy import Policy
from gateway.routing.patterns import NO_CAPTURES, Captures, Condition, Pattern, Regex
from gateway.routing.router import PLAIN, Route, pattern_text, route

_NOT_IN_ADDRESSES = re.compile(r"[\s<>,]")
"""What a header has around addresses, and no recipient in an envelope."""


@dataclass(frozen=True)
class Address(Pattern):
    """One mail address, without regard to case."""

    address: str

    def __post_init__(self) -> None:
        local, at, domain = self.address.rpartition("@")
        if not (local and at and domain) or _NOT_IN_ADDRESSES.search(self.address):
            raise ValueError(f"{self.address!r} is not a mail address; write help@example.org")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("text", self.address),)

    @property
    def sample(self) -> str:
        return self.address

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.casefold() == self.address.casefold() else None

    def covers(self, other: Pattern) -> bool:
        return isinstance(other, Address) and other.address.casefold() == self.address.casefold()

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True)
class Domain(Pattern):
    """Every address at one domain, and not at its subdomains."""

    domain: str

    def __post_init__(self) -> None:
        if not self.domain or "@" in self.domain or _NOT_IN_ADDRESSES.search(self.domain):
            raise ValueError(f"{self.domain!r} is not a domain; write example.org")

    @property
    def conditions(self) -> tuple[Condition, ...]:
        return (("domain", self.domain),)

    @property
    def sample(self) -> str:
        return f"@{self.domain}"

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.rpartition("@")[2].casefold() == self.domain.casefold() else None

    def covers(self, other: Pattern) -> bool:
        if isinstance(other, Domain):
            return other.domain.casefold() == self.domain.casefold()
        return isinstance(other, Address) and self.match(other.address) is not None

    def __str__(self) -> str:
        return f"@{self.domain}"


def regex(pattern: str, target: Any, policy: Policy = PLAIN) -> Route:
    """A recipient, by ``re.search`` without regard to case. Unanchored: end it with ``$`` to mean the whole domain."""
    return route(Regex(pattern_text(pattern), ignore_case=True), target, policy)


def address(address: str, target: Any, policy: Policy = PLAIN) -> Route:
    """One recipient."""
    return route(Address(pattern_text(address)), target, policy)


def domain(domain: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Every recipient at one domain."""
    return route(Domain(pattern_text(domain)), target, policy)
