"""The routes of the email scope, as they are written in Python."""

from dataclasses import dataclass
from typing import Any, Literal, Unpack

from gateway.consumers.parameters import wanted_by
from gateway.delivery.policy import Policy
from gateway.routing.patterns import Default, Pattern
from gateway.routing.router import PLAIN, Route, pattern_text, route
from gateway.scopes.email.conditions import RouteOptions, When, conditions_of
from gateway.scopes.email.patterns import Address, AddressRegex, Domain


@dataclass(frozen=True, eq=False)
class MailRoute(Route):
    """A route that says where answers go."""

    reply_to: Literal["header", "envelope"] | None = None


def regex(pattern: str, target: Any, policy: Policy = PLAIN, **options: Unpack[RouteOptions]) -> Route:
    """Addresses, by ``re.search`` without regard to case. Unanchored: end it with ``$`` to mean the whole domain."""
    return _route(AddressRegex(pattern_text(pattern)), target, policy, options)


def address(address: str, target: Any, policy: Policy = PLAIN, **options: Unpack[RouteOptions]) -> Route:
    """One address, also with a tag (``help+bill7@example.org``)."""
    return _route(Address(pattern_text(address)), target, policy, options)


def domain(domain: str, target: Any, policy: Policy = PLAIN, **options: Unpack[RouteOptions]) -> Route:
    """Every address at one domain."""
    return _route(Domain(pattern_text(domain)), target, policy, options)


def everything(_: object, target: Any, policy: Policy = PLAIN, **options: Unpack[RouteOptions]) -> Route:
    """Whatever no earlier route took."""
    return _route(Default(), target, policy, options)


def _route(pattern: Pattern, target: Any, policy: Policy, options: RouteOptions) -> Route:
    """Make a route. Raises ValueError if it does not capture what the consumer's handler must have."""
    when = conditions_of(options)
    made = route(When(pattern, when) if when else pattern, target, policy)
    if wanted := wanted_by(made.app).required:
        captured = pattern.names if isinstance(pattern, AddressRegex) else frozenset()
        for name in sorted(wanted - captured):
            raise ValueError(
                f"'{pattern}' does not capture {name!r}, which {made.target} takes; write a regular expression with "
                f"(?P<{name}>...), or give the parameter a default"
            )
    reply_to = options.get("reply_to")
    return made if reply_to is None else MailRoute(made.pattern, made.app, made.target, reply_to)
