"""What every way to send mail is called by."""

from collections.abc import Sequence
from typing import Protocol

from protocols.asgi import DSNRequest


class Submission(Protocol):
    """A way to send mail."""

    async def submit(
        self, mail_from: str, rcpt_to: Sequence[str], message: bytes, *, dsn: DSNRequest | None = None
    ) -> None:
        """Send a message, and return when it is taken for every recipient.

        Envelope and message are as :func:`protocols.mail.events.send` returns them. ``mail_from`` may be empty (the
        null reverse-path, for automatic replies). ``dsn`` asks for delivery status notifications (RFC 3461), if the
        server has them.

        Raises NotSent if it was not taken, or, if ``left`` has a ``rcpt_to``, not for those; PermanentFailure if a
        further attempt would not help, AccountRefused if none of our mail is taken.
        """

    async def close(self) -> None:
        """Close what is kept open. A later ``submit`` opens it again."""
