"""The application that passes on the mail of users who have logged in, as the submission port of a mail server does."""

from collections.abc import Sequence

from gateway.scopes.email.body import whole_body
from protocols.asgi import EmailScope, Receive, Send
from protocols.errors import LocalProtocolError, NotSent, PermanentFailure
from protocols.events import Event
from protocols.mail.events import send as checked_send


class Relay:
    """Sends a message through the submission server to all its recipients, and accepts it when that has taken it; on a
    route with a policy when it is stored.

    Only for a user who has logged in, whose senders the server has checked. For everybody else its route takes no
    recipient, so ``{default: true, app: gateway.relay}`` opens nothing.
    """

    target_name = "gateway.relay"
    relays = True
    """Whether mail is taken here that is for others than us: routers look for it."""

    def routable(self, scope: EmailScope) -> bool:
        return scope["user"] is not None

    async def __call__(self, scope: EmailScope, receive: Receive, send: Send) -> None:
        if scope["user"] is None:
            await send(_reject("5.7.1 Relaying denied", scope["rcpt_to"]))
            return
        mail: Event = {"type": "email.send", "mail_from": scope["mail_from"], "rcpt_to": scope["rcpt_to"], "wait": True}
        try:
            checked_send(mail := {**mail, "message": await whole_body(receive)})
        except LocalProtocolError as error:
            await send(_reject(f"5.6.0 {error}", scope["rcpt_to"]))
            return
        try:
            await send(mail)
        except NotSent as error:
            for verdict in _verdicts(error, scope["rcpt_to"]):
                await send(verdict)


relay = Relay()


def _verdicts(error: NotSent, recipients: Sequence[str]) -> list[Event]:
    """Reject the recipients that are refused for good, defer those that are left, and accept the others."""
    left = _those(error, recipients)
    refused = _those(error.refused, ()) if error.refused is not None else []
    taken = [each for each in recipients if each not in {*left, *refused}]
    verdicts = [_reject(f"5.0.0 {error.refused}", refused)] if refused else []
    if isinstance(error, PermanentFailure):
        verdicts.append(_reject(f"5.0.0 {error}", left))
    else:
        verdicts.append({"type": "email.defer", "reason": f"4.4.0 {error}", "rcpt_to": left})
    return [*verdicts, {"type": "email.accept", "rcpt_to": taken}] if taken else verdicts


def _those(error: NotSent, otherwise: Sequence[str]) -> list[str]:
    """The recipients that an error is about."""
    return list((error.left or {}).get("rcpt_to", otherwise))


def _reject(reason: str, recipients: Sequence[str]) -> Event:
    return {"type": "email.reject", "code": 550, "reason": reason, "rcpt_to": list(recipients)}
