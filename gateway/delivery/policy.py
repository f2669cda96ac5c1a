"""How a route wants its messages delivered."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from protocols.server import SETTINGS_CONFIG
from protocols.units import Count, Seconds, Timeout

_MOST_DOUBLINGS = 64
"""A float ends at 1,024 of them; what is tried once an hour gets there in six weeks."""
LONGEST_BACKOFF = 3600.0
"""Seconds between two attempts, at most."""


@dataclass(frozen=True)
class Policy:
    """What happens when a handler fails, and whether its sender waits for it."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    attempts: Count | None = None
    """How often a message's handler is started; after the last failure the message is among the dead letters. Empty:
    once an attempt, for as long as the sender repeats it."""
    backoff: Seconds = 30.0
    """Before the second attempt; it doubles each time, to an hour at most."""
    timeout: Timeout | None = None
    """How long the handler may take; then it is cancelled and the attempt has failed. One on a thread goes on, since
    nothing can stop it: its message is not tried again beside it, and what comes of it counts."""
    on_error: Literal["retry", "dead-letter", "refuse"] = "retry"
    """After a failure: `retry` until `attempts` are used up; `dead-letter`: at once, and the sender is told that it was
    taken; `refuse`: at once, and the sender is told never to send it again."""
    inbox: bool = False
    """Store the message and acknowledge it; the handler runs from the store."""
    order: Literal["key", "none"] = "none"
    """`key`: messages of one MQTT topic, or of one sender, are handled in the order in which they came."""

    def __post_init__(self) -> None:
        """Raises ValueError where two settings do not go together."""
        if self.inbox and self.on_error == "refuse":
            raise ValueError("on_error: refuse and inbox: true do not go together: the sender has its answer by then")

    @property
    def plain(self) -> bool:
        """Whether it asks for nothing: such a route is served without a store, at no cost."""
        return self == Policy()

    def wait(self, attempt: int) -> float:
        """Seconds between the failed attempt number ``attempt`` and the next."""
        return min(self.backoff * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS), LONGEST_BACKOFF)
