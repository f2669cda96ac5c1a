"""What an application may send in an ``http`` or ``websocket`` scope. Pure; see :mod:`protocols.events`.

Header fields are checked by :mod:`.head`, and the text of a WebSocket message where it is sent: encoding them finds
the mistakes. A close frame is checked when there is one: before ``websocket.accept`` the answer is 403, whatever the
code.
"""

import os
from typing import Any

from protocols.errors import LocalProtocolError
from protocols.events import Event, as_bytes, utf8, wrong

HTTP = {
    "waiting": {"http.response.start": "started", "http.response.early_hint": "waiting"},
    "started": {"http.response.body": "streaming", "http.response.pathsend": "streaming"},
    "streaming": {"http.response.body": "streaming", "http.response.trailers": "streaming"},
}
WEBSOCKET = {
    "waiting": {
        "websocket.accept": "open",
        "websocket.close": "over",
        "websocket.http.response.start": "started",
    },
    "started": {"websocket.http.response.body": "streaming"},
    "streaming": {"websocket.http.response.body": "streaming"},
    "open": {"websocket.send": "open", "websocket.close": "over"},
}

_LONGEST_REASON = 123
"""Bytes of a close frame's reason (RFC 6455, 5.5)."""


def start(event: Event) -> Event:
    status = event["status"]
    if not isinstance(status, int) or not 200 <= status <= 599:  # RFC 9110, 15: those of final responses
        raise wrong(event, "status", "an integer from 200 to 599")
    return event


def early_hint(event: Event) -> Event:
    links = event["links"]
    if not isinstance(links, list | tuple) or not all(isinstance(link, bytes) for link in links):
        raise wrong(event, "links", "a list of bytes")
    return event


def body(event: Event) -> Event:
    if type(event.get("body", b"")) is bytes:
        return event
    return {**event, "body": as_bytes(event, "body")}


def pathsend(event: Event) -> Event:
    if not isinstance(event["path"], str | os.PathLike):  # an int would be one of our own descriptors
        raise wrong(event, "path", "the path of a file")
    return event


def trailers(event: Event) -> Event:
    if not isinstance(event["headers"], list | tuple):
        raise wrong(event, "headers", "a list of (name, value) pairs, both of them bytes")
    return event


def close_frame(event: Event) -> tuple[int, str]:
    """Return the code and the reason of a ``websocket.close``. Raises LocalProtocolError."""
    code, reason = event.get("code") or 1000, utf8(event, "reason") if event.get("reason") else b""
    if not is_sendable(code):
        raise wrong(event, "code", "1000, one from 3000 to 4999, or another one that a close frame may have (RFC 6455)")
    if len(reason) > _LONGEST_REASON:
        raise LocalProtocolError(f"websocket.close: reason has {len(reason)} bytes; {_LONGEST_REASON} is the most")
    return int(code), reason.decode()


def check_message(event: Event) -> None:
    """Check a ``websocket.send``, for a run that does not encode it. Raises LocalProtocolError."""
    if event.get("text") is None:
        as_bytes(event, "bytes")
    elif event.get("bytes") is None:
        utf8(event, "text")
    else:
        raise both_given()


def both_given() -> LocalProtocolError:
    return LocalProtocolError("websocket.send has text and bytes; write one of them")


CHECKS = {
    "http.response.start": start,
    "http.response.early_hint": early_hint,
    "http.response.body": body,
    "http.response.pathsend": pathsend,
    "http.response.trailers": trailers,
    "websocket.http.response.start": start,
    "websocket.http.response.body": body,
}


def is_sendable(code: Any) -> bool:
    """Whether a close frame may have ``code`` (RFC 6455, 7.4, and IANA's registry)."""
    return isinstance(code, int) and (3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006)))
