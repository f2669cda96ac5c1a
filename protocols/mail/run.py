"""One run of the application over one message, which ends in a verdict. SMTP, LMTP and IMAP share it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Iterator
from typing import Any

from protocols.app_run import AppRun, observed
from protocols.asgi import (
    Application,
    EmailScope,
    EmailSendEvent,
    ReceiveEvent,
    describe,
)
from protocols.errors import LocalProtocolError, NotSent
from protocols.events import Event
from protocols.mail import events
from protocols.mail.authentication.authenticator import Authenticator
from protocols.mail.submission import Submission
from protocols.mail.verdict import Accept, Defer, Reject, Verdict, Verdicts, verdict_of
from protocols.unsent import report_unsent

logger = logging.getLogger(__name__)


class EmailRun(AppRun):
    """One run of the application over one message.

    The application gets the message and then ``email.disconnect``, because nothing more will come. A sender that leaves
    changes nothing: a handler that is cancelled half-way would run twice, when the sender tries again.
    """

    sends = events.SENDS
    checks = events.CHECKS

    def __init__(
        self, app: Application, scope: EmailScope, body: bytes, submission: Submission | None, timeout: float
    ) -> None:
        super().__init__(app, scope)
        self.verdicts = Verdicts(scope["rcpt_to"])
        self._submission = submission
        self._events = _events(body)
        self._ends = asyncio.get_running_loop().time() + timeout

    async def receive(self) -> Any:
        """Return the next event."""
        event = next(self._events, None)
        if event is None:
            await asyncio.get_running_loop().create_future()  # after the disconnect: waits until cancelled
        elif observed.by is not None:
            observed.by.received(self, event)
        return event

    def final_result(self) -> str | int:
        """Return the one verdict for all recipients."""
        return "failed" if self.error is not None else _RESULTS[type(self.verdicts.combined)]

    def decide(self, event: Event) -> None:
        self.verdicts.add(event)

    email_accept = email_reject = email_defer = decide

    def email_send(self, event: EmailSendEvent) -> Awaitable[None]:
        if self._submission is None:
            raise LocalProtocolError("email.send: no submission server is configured")
        submitted = self._submission.submit(
            event["mail_from"], event["rcpt_to"], event["message"], dsn=event.get("dsn")
        )
        return submitted if event.get("wait") else self._once(submitted, event)

    async def _once(self, submitted: Awaitable[None], event: EmailSendEvent) -> None:
        """Wait until the mail is sent, at most for half of the handler's remaining time, and log a failure.

        A message must not be deferred because of its answer.
        """
        left = max(0.0, self._ends - asyncio.get_running_loop().time()) / 2
        try:
            async with asyncio.timeout(left) as limit:
                await submitted
        except NotSent as error:
            for each in filter(None, (error, error.refused)):
                report_unsent(self.scope, "mail", ", ".join((each.left or event)["rcpt_to"]), each)
        except TimeoutError:
            if not limit.expired():
                raise
            said = NotSent(f"it was not taken within {left:.3g} s, half of the time that the handler had left")
            report_unsent(self.scope, "mail", ", ".join(event["rcpt_to"]), said)


_RESULTS = {Accept: "accepted", Reject: "rejected", Defer: "deferred"}


def _events(body: bytes) -> Iterator[ReceiveEvent]:
    """Yield the message in one event, because it is in memory as a whole: pieces of it would be copies."""
    yield {"type": "email.receive", "body": body, "more_body": False}
    yield {"type": "email.disconnect"}


async def deliver(
    app: Application,
    scope: EmailScope,
    body: bytes,
    *,
    timeout: float,
    submission: Submission | None = None,
    authenticator: Authenticator | None = None,
) -> Verdict:
    """Run ``app`` over one message, as :func:`deliver_to_each` does, and return one verdict for all recipients."""
    verdicts = await deliver_to_each(
        app, scope, body, timeout=timeout, submission=submission, authenticator=authenticator
    )
    warn_of_rejections(scope, verdicts)
    return verdicts.combined


def warn_of_rejections(scope: EmailScope, verdicts: Verdicts) -> None:
    """Tell the operator, where there is one answer for all recipients, and some reject what others have accepted.

    The sender is not told. It has one answer, and a bounce of ours would go to the person that a forged sender names.
    """
    if not verdicts.differ or not isinstance(verdicts.combined, Accept):
        return
    for event, recipients in verdicts.groups():
        if event["type"] == "email.reject":
            said = "%s: %s for %s (%s); its sender does not learn of it, because others have accepted"
            logger.warning(said, describe(scope), verdict_of(event), ", ".join(recipients), event["reason"])


async def deliver_to_each(
    app: Application,
    scope: EmailScope,
    body: bytes,
    *,
    timeout: float,
    submission: Submission | None = None,
    authenticator: Authenticator | None = None,
) -> Verdicts:
    """Run ``app`` over one message and return its verdicts. With an ``authenticator`` its sender is verified before.

    An application that returns without a verdict has accepted. One that crashes (which is logged once), or does not
    return within ``timeout`` seconds, has deferred, whatever it sent; only verdicts with ``rcpt_to`` stand. Cancelling
    this cancels the application.
    """
    if authenticator is not None:
        scope["authentication"] = await authenticator.results(scope, body)
    run = EmailRun(app, scope, body, submission, timeout)
    crash: BaseException | None = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout) as limit:
            crash = await run.run()
    run.forget_error()
    if limit.expired() and not isinstance(run.verdicts.combined, Defer):  # its deferral has been logged
        logger.error("%s: the handler was not done after %g s", describe(scope), timeout, extra={"scope": scope})
    if crash is not None or limit.expired():
        run.verdicts.fail()
    return run.verdicts
