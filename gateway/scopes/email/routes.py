"""The routes of the email scope, as they are written in Python."""

from typing import Any

from gateway.delivery.policy import Policy
from gateway.routing.router import PLAIN, Route, pattern_text, route
from gateway.scopes.email.patterns import Address, AddressRegex, Domain


def regex(pattern: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Addresses, by ``re.search`` without regard to case. Unanchored: end it with ``$`` to mean the whole domain."""
    return route(AddressRegex(pattern_text(pattern)), target, policy)


def address(address: str, target: Any, policy: Policy = PLAIN) -> Route:
    """One address, also with a tag (``help+bill7@example.org``)."""
    return route(Address(pattern_text(address)), target, policy)


def domain(domain: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Every address at one domain."""
    return route(Domain(pattern_text(domain)), target, policy)
