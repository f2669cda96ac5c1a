"""Counts what becomes of outgoing mail."""

import time
from collections.abc import Sequence

from protocols.asgi import DSNRequest
from protocols.errors import AccountRefused, NotSent, PermanentFailure
from protocols.mail.submission.interface import Submission

RESULTS = ("sent", "refused", "account_refused", "failed")
"""``refused``: a recipient or the mail, for good; ``account_refused``: the login, or a permission of ours; ``failed``:
the server did not answer, or asks for another attempt."""


class MeasuredSubmission:
    """Sends by ``submission``, and counts."""

    def __init__(self, submission: Submission) -> None:
        self.opened = submission
        self.results = dict.fromkeys(RESULTS, 0)
        self.is_up = True
        """Whether the server took the last mail, or refused it alone."""
        self.since = time.time()
        """The Unix time since which that is so."""

    async def submit(
        self, mail_from: str, rcpt_to: Sequence[str], message: bytes, *, dsn: DSNRequest | None = None
    ) -> None:
        try:
            await self.opened.submit(mail_from, rcpt_to, message, dsn=dsn)
        except NotSent as error:
            self._count(_result(error))
            raise
        self._count("sent")

    def _count(self, result: str) -> None:
        self.results[result] += 1
        is_up = result in ("sent", "refused")
        if is_up != self.is_up:
            self.is_up, self.since = is_up, time.time()

    async def close(self) -> None:
        await self.opened.close()


def _result(error: NotSent) -> str:
    match error:
        case PermanentFailure():
            return "refused"
        case AccountRefused():
            return "account_refused"
        case _:
            return "failed"
