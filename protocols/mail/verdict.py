"""The verdict on a message: accepted, rejected or deferred."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accept:
    """The handler has finished, and is responsible for the message now."""

    def __str__(self) -> str:
        return "accepted"


@dataclass(frozen=True, slots=True)
class Reject:
    """The handler does not want the message, now or later."""

    code: int = 550
    """An SMTP reply code, 500 to 599."""
    reason: str = "Message rejected"

    def __str__(self) -> str:
        return f"rejected, {self.code}"


@dataclass(frozen=True, slots=True)
class Defer:
    """The sender, or the reader of the mailbox, keeps the message and tries again later."""

    reason: str = "Temporary failure, please try again later"
    retry_after: float | None = None
    """Seconds that the handler asked for. A mailbox reader waits for them; SMTP has no way to say them."""

    def __str__(self) -> str:
        return "deferred"


Verdict = Accept | Reject | Defer
