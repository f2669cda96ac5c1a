"""Forwards the mail for postmaster and abuse to an address."""

import logging
import time
from collections import deque

from gateway.scopes.email.body import whole_body
from protocols.asgi import EmailScope, Receive, Send, describe
from protocols.mail.addresses import check_address
from protocols.mail.compose import Draft, compose
from protocols.mail.compose.content import message_part
from protocols.mail.compose.forward import LOOP, forward_subject, loop_marks, was_forwarded_by
from protocols.mail.message import InboundEmail

logger = logging.getLogger(__name__)

MOST, WITHIN = 60, 3600.0
"""How many messages are forwarded within how many seconds: spam must not fill the mailbox of the one who reads them."""
_LONGEST_SUBJECT = 200
"""Characters of a subject in the log."""


class Forwarding:
    """Forwards a message to one address, as an attachment. It is accepted when the forwarded message has left, or is
    stored to leave."""

    def __init__(self, address: str) -> None:
        """Raises ValueError."""
        try:
            self._address = check_address(address)
        except ValueError as error:
            raise ValueError(f"{address!r} is not a mail address; write ops@example.org") from error
        self.target_name = self._address
        self._forwarded: deque[float] = deque(maxlen=MOST)

    async def __call__(self, scope: EmailScope, receive: Receive, send: Send) -> None:
        own = scope["rcpt_to"][0]
        if "@" not in own:
            own = f"{own}@{self._address.rpartition('@')[2]}"
        if was_forwarded_by([own], scope["headers"]):
            logger.warning("%s: not forwarded to %s: it has been, and came back", describe(scope), self._address)
            return
        message = InboundEmail(await whole_body(receive), mail_from=scope["mail_from"], rcpt_to=scope["rcpt_to"])
        now = time.monotonic()
        if len(self._forwarded) == MOST and now - self._forwarded[0] < WITHIN:
            said = "%s: not forwarded to %s: %d have been within an hour; subject %r"
            logger.warning(said, describe(scope), self._address, MOST, message.subject[:_LONGEST_SUBJECT])
            return
        draft = Draft(
            from_=own,
            to=self._address,
            subject=forward_subject(message.subject),
            text=f"This message was sent to {own} by {scope['mail_from'] or 'a mail server'}.\n",
            headers={"Auto-Submitted": "auto-generated", LOOP: loop_marks(own, scope["headers"])},
            parts=[message_part(message.raw, "message.eml")],
        )
        mail = compose(draft)
        await send(
            {"type": "email.send", "mail_from": "", "rcpt_to": mail.rcpt_to, "message": mail.message, "wait": True}
        )
        self._forwarded.append(now)
