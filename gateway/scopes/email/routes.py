"""The routes of the email scope, as they are written in Python."""

from typing import Any

from gateway.consumers.parameters import wanted_by
from gateway.delivery.policy import Policy
from gateway.routing.patterns import Default, Pattern
from gateway.routing.router import PLAIN, Route, pattern_text, route
from gateway.scopes.email.patterns import Address, AddressRegex, Domain


def regex(pattern: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Addresses, by ``re.search`` without regard to case. Unanchored: end it with ``$`` to mean the whole domain."""
    return _route(AddressRegex(pattern_text(pattern)), target, policy)


def address(address: str, target: Any, policy: Policy = PLAIN) -> Route:
    """One address, also with a tag (``help+bill7@example.org``)."""
    return _route(Address(pattern_text(address)), target, policy)


def domain(domain: str, target: Any, policy: Policy = PLAIN) -> Route:
    """Every address at one domain."""
    return _route(Domain(pattern_text(domain)), target, policy)


def everything(_: object, target: Any, policy: Policy = PLAIN) -> Route:
    """Whatever no earlier route took."""
    return _route(Default(), target, policy)


def _route(pattern: Pattern, target: Any, policy: Policy) -> Route:
    """Make a route. Raises ValueError if it does not capture what the consumer's handler must have."""
    made = route(pattern, target, policy)
    if wanted := wanted_by(made.app).required:
        captured = pattern.names if isinstance(pattern, AddressRegex) else frozenset()
        for name in sorted(wanted - captured):
            raise ValueError(
                f"'{pattern}' does not capture {name!r}, which {made.target} takes; write a regular expression with "
                f"(?P<{name}>...), or give the parameter a default"
            )
    return made
