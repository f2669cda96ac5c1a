"""How a mail is recognized when its sender repeats it. Pure; docs/identity.md has it in words."""

import hashlib
from collections.abc import Sequence
from email.utils import mktime_tz, parsedate_tz
from typing import Any

from gateway.delivery.deduplication import DAY, Identity, digest
from protocols.asgi import EmailScope
from protocols.mail.headers import first

MAIL_WINDOW = 5 * DAY
"""Seconds for which a mail's repetition is recognized, from its last attempt on: as long as senders go on trying
(Postfix and Sendmail 5 days, Exim 4)."""
OLDEST, NEWEST = -7 * DAY, DAY
"""How far from its arrival a mail's Date may be. Devices without a clock say 1970, each time they start."""
_LONGEST_DATE = 100


def identity_of(scope: EmailScope, events: Sequence[Any]) -> Identity:
    """The Message-ID alone does not do: senders repeat it over different mails, or leave it out."""
    content = _content(scope, events)
    if scope["mailbox"] is not None:
        place = scope["mailbox"]  # RFC 3501, 2.3.1.1. Not alone: some servers give every mailbox UIDVALIDITY 1
        parts = [
            scope["listener"],
            place["account"],
            place["folder"],
            place["uidvalidity"],
            place["uid"],
            *scope["rcpt_to"],
        ]
        return Identity(digest("email", [*parts, content]), digest("mailbox", parts), MAIL_WINDOW)
    looks = digest("email", [scope["mail_from"], sorted(scope["rcpt_to"]), content])
    if _has_identity(scope):
        return Identity(looks, "", MAIL_WINDOW)
    return Identity("", looks, MAIL_WINDOW)


def _has_identity(scope: EmailScope) -> bool:
    """A Message-ID and a Date that were made for this mail alone."""
    message_id, date = first(scope["headers"], b"message-id") or b"", first(scope["headers"], b"date") or b""
    return bool(message_id.strip(b"<>@ \t")) and _is_recent(date, scope["received_at"])


def _is_recent(date: bytes, received: float) -> bool:
    try:
        parsed = parsedate_tz(date[:_LONGEST_DATE].decode("ascii", "replace"))
        written = None if parsed is None else mktime_tz(parsed)
    except (ValueError, OverflowError, TypeError, IndexError):
        return False  # 99 o'clock, the year 0
    return written is not None and OLDEST <= written - received <= NEWEST


def _content(scope: EmailScope, events: Sequence[Any]) -> str:
    """A digest of every byte that the sender sent. A sending server's queue keeps the message as it is, with the trace
    headers that it has itself put in front: only ours differ from delivery to delivery."""
    digest = hashlib.sha256()
    start = _own_trace(scope, events[0]["body"])
    for event in events:
        digest.update(memoryview(event["body"])[start:])
        start = 0
    return digest.hexdigest()


def _own_trace(scope: EmailScope, body: bytes) -> int:
    """Bytes of the trace header that our server put in front: three lines, of which the second ends with its id."""
    end = -2
    ends = [end := body.find(b"\r\n", end + 2) for _ in range(3)]
    own = f" id {scope['extensions'].get('event', {}).get('id')};".encode()
    ours = body.startswith(b"Received: from ") and -1 not in ends and body.endswith(own, ends[0], ends[1])
    return ends[2] + 2 if ours else 0
