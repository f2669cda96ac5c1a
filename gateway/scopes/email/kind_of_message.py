"""Reads what kind a message is of, for the routes that ask for it, before the message is routed."""

import asyncio
from collections import deque
from typing import Any

from protocols.asgi import EmailReceiveEvent, EmailScope, Receive
from protocols.mail import message as mail

MOST = 1024**2
"""Bytes from the beginning of a message that are read: the signs are in its header, and reports come before the message
that they return."""
_INLINE = 8 * 1024
"""A larger message is read on a thread."""


async def with_kind(scope: EmailScope, receive: Receive) -> tuple[EmailScope, Receive]:
    """Return the scope with its ``kind``, and what gives the events of the message again."""
    events: deque[EmailReceiveEvent] = deque()
    more = True
    while more:
        event: EmailReceiveEvent = await receive()
        events.append(event)
        more = event["more_body"]

    async def again() -> Any:
        return events.popleft() if events else await receive()

    return {**scope, "kind": await _kind_of(scope, _beginning(events))}, again


def _beginning(events: deque[EmailReceiveEvent]) -> bytes:
    chunks: list[bytes] = []
    left = MOST
    for event in events:
        chunks.append(event["body"][:left])
        left -= len(chunks[-1])
        if not left:
            break
    return b"".join(chunks)


async def _kind_of(scope: EmailScope, raw: bytes) -> str:
    message = mail.InboundEmail(raw, mail_from=scope["mail_from"], rcpt_to=scope["rcpt_to"])
    if len(raw) <= _INLINE:
        return message.kind
    return await asyncio.to_thread(lambda: message.kind)
