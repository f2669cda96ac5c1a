"""What makes a scope type one."""

from dataclasses import dataclass

from gateway.delivery.kind import DeliveryKind


@dataclass(frozen=True)
class ScopeKind:
    """A scope type, with all that the gateway has to know about it."""

    name: str
    """``scope["type"]``."""
    delivery: DeliveryKind | None = None
    """How its messages are kept. None: they are not, and a route for them has no policy."""
