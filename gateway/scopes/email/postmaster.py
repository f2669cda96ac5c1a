"""Mail for postmaster and abuse: there is always somebody who learns of it (RFC 5321 4.5.1, RFC 2142 4).

If no route takes it, it is forwarded to an address or given to an application of yours; if you name neither, the log
has a line.
"""

import logging
import time
from collections import deque
from typing import Any

from gateway.routing.patterns import NO_CAPTURES, Captures, Pattern
from gateway.routing.router import PLAIN, Route, route
from gateway.scopes.email.body import whole_body
from gateway.scopes.email.stored import has_store, stored
from protocols.asgi import EmailScope, Receive, Send, describe
from protocols.mail.addresses import check_address
from protocols.mail.compose import Draft, compose
from protocols.mail.compose.content import message_part
from protocols.mail.compose.forward import LOOP, forward_subject, loop_marks, was_forwarded_by
from protocols.mail.message import InboundEmail

logger = logging.getLogger(__name__)

NAMES = frozenset({"postmaster", "abuse"})
MOST, WITHIN = 60, 3600.0
"""How many messages are forwarded within how many seconds: spam must not fill the mailbox of the one who reads them."""
_LONGEST_SUBJECT = 200


class Reserved(Pattern):
    """postmaster and abuse at whatever domain, and postmaster alone."""

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if key.partition("@")[0].casefold() in NAMES else None

    def __str__(self) -> str:
        return "postmaster, abuse"


def postmaster(target: Any) -> Route:
    """The route to an address, or to an application. Raises ValueError."""
    made = route(Reserved(), Forwarding(target) if isinstance(target, str) else target, PLAIN)
    return _ForwardingRoute(made.pattern, made.app, made.target) if isinstance(target, str) else made


async def logged(scope: EmailScope, receive: Receive, send: Send) -> None:
    """Accept a message, and say in the log that it is not kept."""
    message = await _message(scope, receive)
    said = "%s: mail for the postmaster is not kept, subject %r; write who gets it under postmaster: in the file"
    logger.warning(said, describe(scope), message.subject[:_LONGEST_SUBJECT])


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
        message = await _message(scope, receive)
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


async def _message(scope: EmailScope, receive: Receive) -> InboundEmail:
    return InboundEmail(await whole_body(receive), mail_from=scope["mail_from"], rcpt_to=scope["rcpt_to"])


class _ForwardingRoute(Route):
    """What it forwards leaves by the outbox, where the gateway has a store."""

    async def run(self, scope: Any, receive: Receive, send: Send) -> None:
        made = Route(self.pattern, self.app, self.target)
        await (stored(made) if has_store() else made).run(scope, receive, send)
