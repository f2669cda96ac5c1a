"""Mail for postmaster and abuse: there is always somebody who learns of it (RFC 5321 4.5.1, RFC 2142 4).

If no route takes it, it is forwarded to an address or given to an application of yours; if you name neither, the log
has a line.
"""

import logging
from typing import Any

from gateway.routing.patterns import NO_CAPTURES, Captures, Pattern
from gateway.routing.router import PLAIN, Route, route
from gateway.scopes.email.body import whole_body
from gateway.scopes.email.patterns import is_reserved
from gateway.scopes.email.stored import has_store, stored
from protocols.asgi import EmailScope, Receive, Send, describe
from protocols.mail import message as mail

logger = logging.getLogger(__name__)

_LONGEST_SUBJECT = 200
"""Characters of a subject in the log."""


class Reserved(Pattern):
    """postmaster and abuse at whatever domain, and postmaster alone."""

    def match(self, key: str) -> Captures | None:
        return NO_CAPTURES if is_reserved(key) else None

    def __str__(self) -> str:
        return "postmaster, abuse"


def postmaster(target: Any) -> Route:
    """The route to an address, or to an application. Raises ValueError."""
    if not isinstance(target, str):
        return route(Reserved(), target, PLAIN)
    from gateway.scopes.email.forwarding import Forwarding  # it composes mail

    made = route(Reserved(), Forwarding(target), PLAIN)
    return _ForwardingRoute(made.pattern, made.app, made.target)


async def logged(scope: EmailScope, receive: Receive, send: Send) -> None:
    """Accept a message, and say in the log that it is not kept."""
    message = mail.InboundEmail(await whole_body(receive), mail_from=scope["mail_from"], rcpt_to=scope["rcpt_to"])
    said = "%s: mail for the postmaster is not kept, subject %r; write who gets it under postmaster: in the file"
    logger.warning(said, describe(scope), message.subject[:_LONGEST_SUBJECT])


class _ForwardingRoute(Route):
    """What it forwards leaves by the outbox, where the gateway has a store."""

    async def run(self, scope: Any, receive: Receive, send: Send) -> None:
        made = Route(self.pattern, self.app, self.target)
        await (stored(made) if has_store() else made).run(scope, receive, send)
