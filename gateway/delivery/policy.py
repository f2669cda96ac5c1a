"""The delivery policy of a route: attempts, pauses, time limit, inbox, order."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from protocols.server import SETTINGS_CONFIG
from protocols.units import Count, Seconds, Timeout

_MOST_DOUBLINGS = 64
"""A float overflows at 1,024 doublings, which a message that is tried once an hour reaches in six weeks."""
LONGEST_BACKOFF = 3600.0
"""The longest pause between two attempts, in seconds."""


@dataclass(frozen=True)
class Policy:
    """What happens when a handler fails, and whether its sender waits for it."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    attempts: Count | None = None
    """How often a message's handler is started; after the last failure the message is a dead letter. Empty: once each
    time that the sender repeats the message."""
    backoff: Seconds = 30.0
    """The pause before the second attempt. It doubles each time, up to an hour."""
    timeout: Timeout | None = None
    """How long the handler may take. Then it is cancelled, and the attempt has failed. A handler on a thread cannot be
    stopped and goes on: its message is not tried again meanwhile, and its result counts."""
    on_error: Literal["retry", "dead-letter", "refuse"] = "retry"
    """What follows a failure: `retry` until `attempts` are used up; `dead-letter` at once, with the sender told that
    the message was accepted; `refuse` at once, with the sender told not to send it again."""
    inbox: bool = False
    """Store the message and acknowledge it; the handler runs from the store."""
    concurrency: Count | None = None
    """With `inbox: true`: how many messages of this route are handled at once, in each process; more wait in the store.
    A route with slow handlers then leaves threads, and the 64 places for stored messages, to the others."""
    order: Literal["key", "none"] = "none"
    """`key`: messages of one MQTT topic or of one sender, and stored requests for one path, are handled in the order in
    which they came."""

    atomic: bool = False
    """Commit the handler's rows in the store's database, what it sends, and that the message is handled, in one
    transaction: [exactly once](exactly-once.md)."""

    def __post_init__(self) -> None:
        """Check the settings. Raises ValueError if two of them exclude each other."""
        if self.concurrency is not None and not self.inbox:
            raise ValueError("concurrency needs inbox: true: only messages in the store can wait for their turn")
        if self.inbox and self.on_error == "refuse":
            raise ValueError("on_error: refuse and inbox: true do not go together: the sender has its answer by then")

    @property
    def plain(self) -> bool:
        """Whether all settings are the defaults: such a route is served without a store, at no cost."""
        return all(getattr(self, each.name) == each.default for each in fields(Policy))

    def wait(self, attempt: int) -> float:
        """Seconds between the failed attempt number ``attempt`` and the next."""
        return min(self.backoff * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS), LONGEST_BACKOFF)
