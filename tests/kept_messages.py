"""Dead letters and outgoing items that a test puts into a store."""

import time
from typing import Any

from gateway.store import Message, Outgoing, Store, codec

TRACEBACK = "Traceback (most recent call last):\n  File \"tickets.py\", line 41, in receive\nKeyError: 'order'\n"
SCOPE: dict[str, Any] = {
    "type": "email",
    "listener": "mail",
    "transport": "smtp",
    "mail_from": "ann@example.net",
    "rcpt_to": ["help@example.org"],
    "headers": [(b"subject", b"<script>alert(1)</script>"), (b"authorization", b"Bearer hunter2")],
    "client": ("192.0.2.7", 4321),
    "extensions": {},
}
MAIL = b"Subject: <script>alert(1)</script>\r\n\r\nHello\r\n"
EVENTS = [{"type": "email.receive", "body": MAIL, "more_body": False}]


def message(id: str, **more: Any) -> Message:
    given: dict[str, Any] = {
        "route": "everything -> shop.Desk",
        "key": id,
        "received": time.time() - 600,
        "content": codec.encode(SCOPE, EVENTS),
        "attempts": 3,
        "subject": "email ann@example.net -> help@example.org",
    }
    return Message(id=id, type="email", **given | more)


def outgoing(id: str, **more: Any) -> Outgoing:
    """One that is not tried soon."""
    event = {"type": "email.send", "mail_from": "a@example.org", "rcpt_to": ["b@example.net"], "body": MAIL}
    given: dict[str, Any] = {"due": time.time() + 3600, "lane": "submission", "recipient": "b@example.net"}
    content = codec.encode({"type": "email"}, [event])
    return Outgoing(id=id, message="old1", kind="email", content=content, **given | more)


async def bury(store: Store, *messages: Message, error: str = TRACEBACK) -> None:
    for each in messages:
        await store.dead_letter(each, error=error)


async def fill(store: Store) -> None:
    await bury(store, message("old1"), message("old2"))
    await store.put_outgoing([outgoing("sent1")])
