"""How long the outbox tries to send what handlers send (``outgoing.keep``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.scope_kinds import scope_kinds

_OTHERWISE = 5 * 86400.0
"""Seconds for items of a scope type that is no longer installed."""


@dataclass(frozen=True)
class Keep:
    """Seconds from the commit on. What has not left by then is dead after its next failure; what an account refuses (a
    login, a balance) is kept without an end."""

    by_type: Mapping[str, float] = field(default_factory=dict)
    """Scope type -> seconds, where they are not those of the scope type itself."""
    everything: float | None = None
    """Seconds for every scope type, instead of ``by_type``."""

    def of(self, scope_type: str) -> float:
        if self.everything is not None:
            return self.everything
        return self.by_type.get(scope_type) or _usual(scope_type)


def _usual(scope_type: str) -> float:
    """Return the default of a scope type."""
    kind = scope_kinds().get(scope_type)
    usual: float | None = kind.delivery.keep if kind is not None and kind.delivery is not None else None
    return _OTHERWISE if usual is None else usual
