"""Makes the ``email`` scope of one message."""

from typing import Any, Literal

from protocols.asgi import VERSIONS, EmailScope, HostPort, Mailbox
from protocols.event_id import new_id
from protocols.mail.addresses import DELIMITER
from protocols.mail.headers import message_id, parse_headers
from protocols.mail.recipients import recipient


def email_scope(
    body: bytes,
    *,
    transport: Literal["smtp", "lmtp", "imap"],
    listener: str,
    mail_from: str,
    rcpt_to: list[str],
    received_at: float,
    state: dict[str, Any],
    client: HostPort | None = None,
    server: HostPort | None = None,
    helo: str | None = None,
    mailbox: Mailbox | None = None,
    event: str | None = None,
    size: int | None = None,
    delimiters: str = DELIMITER,
    user: str | None = None,
) -> EmailScope:
    """The scope of one message, whose envelope has the recipients ``rcpt_to``; ``delimiters`` may begin a tag in one.
    It gets a shallow copy of ``state``, which is the server's. ``event`` is the message's event id, if it has one
    already; ``size`` that of the whole message, if ``body`` is only its beginning."""
    headers = parse_headers(body)
    own_id = message_id(headers)
    return {
        "type": "email",
        "asgi": VERSIONS,
        "listener": listener,
        "client": client,
        "server": server,
        "extensions": {"event": {"id": event or new_id()}},
        "state": state.copy(),
        "transport": transport,
        "mail_from": mail_from,
        "rcpt_to": rcpt_to,
        "recipients": [recipient(address, delimiters=delimiters) for address in rcpt_to],
        "headers": headers,
        "message_id": own_id,
        "size": len(body) if size is None else size,
        "helo": helo,
        "user": user,
        "mailbox": mailbox,
        "authentication": None,
        "received_at": received_at,
    }
