"""Turns the head of a response from ASGI's header list into bytes. Pure."""

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from protocols.errors import LocalProtocolError

Headers = Iterable[tuple[bytes, bytes]]

_ALSO = {426: b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"}
"""Header fields that a status requires (RFC 6455, 4.4)."""

# RFC 9110, 5.1 and 5.5: a name is a token; a value has visible characters, spaces, tabs and obs-text, no other control.
_FIELD = re.compile(rb"[!#-'*+\-.^_`|~0-9a-z]+: [\t\x20-\x7e\x80-\xff]*\r\n")
_OURS = frozenset({b"content-length", b"connection", b"transfer-encoding", b"date"})
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def encode(headers: Headers) -> tuple[bytes, int | None, bool]:
    """Return the fields as bytes, the Content-Length, and whether the application asks to close the connection.

    The server does the framing, so Content-Length, Transfer-Encoding and Connection are taken out. A Date of the
    application's own stays. Raises LocalProtocolError for a field that would break the framing, or holds another one.
    """
    try:
        return _encode(headers)
    except (TypeError, ValueError, AttributeError) as error:
        raise _no_pairs() from error


def _no_pairs() -> LocalProtocolError:
    return LocalProtocolError("headers are a list of (name, value) pairs, both of them bytes")


def _encode(headers: Headers) -> tuple[bytes, int | None, bool]:
    fields = b""
    length: int | None = None
    close = dated = False
    for name, value in headers:
        line, ours, said = _line(name, value)
        if ours is None:
            fields += line
        elif ours == b"content-length":
            if length is not None and length != said:
                raise LocalProtocolError(
                    f"content-length is {length}, and {said} as well; leave it out, or write the length"
                )
            length = said
        elif ours == b"connection":
            close = close or b"close" in value.lower()
        elif ours == b"date":
            fields += line
            dated = True
    return fields if dated else fields + date(int(time.time())), length, close


@lru_cache(maxsize=1024)
def _line(name: bytes, value: bytes) -> tuple[bytes, bytes | None, int | None]:
    """Return the field in bytes, its lower-case name if the server handles it, and its value if it is a length.

    Cached, because applications send the same fields again and again.
    """
    name = name.lower()  # ASGI requires lower case; not every middleware keeps to it
    line = b"%b: %b\r\n" % (name, value)
    if _FIELD.fullmatch(line) is None:
        field = repr(name.decode("latin-1"))
        raise LocalProtocolError(f"the header {field}: its name is not a token, or its value has a control character")
    return line, name if name in _OURS else None, _length(value) if name == b"content-length" else None


def _length(value: bytes) -> int:
    if not value.isdigit():
        raise LocalProtocolError(f"content-length {value!r} is not a length")
    return int(value)


@lru_cache(maxsize=1)
def date(now: int) -> bytes:
    """Return the Date field for the second ``now`` (Unix time)."""
    return f"date: {formatdate(now, usegmt=True)}\r\n".encode()


def interim(status: int, headers: Headers) -> bytes:
    """Return an interim response (RFC 9110, 15.2). Raises LocalProtocolError as :func:`encode` does."""
    try:
        return _STATUS_LINES[status] + b"".join(_line(*field)[0] for field in headers) + b"\r\n"
    except (TypeError, AttributeError) as error:
        raise _no_pairs() from error


def plain(status: int, *, body: bool = True, fields: bytes = b"", dated: bool = True) -> bytes:
    """Return a complete, short answer of the server's own in plain text, after which the connection closes. One that is
    not sent now but kept is not ``dated``: only a 5xx may be without (RFC 9110, 6.6.1)."""
    line = status_line(status)
    text = line[9:].strip().partition(b" ")[2]
    framing = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n" % len(text)
    now = date(int(time.time())) if dated else b""
    return line + framing + _ALSO.get(status, b"") + fields + now + b"\r\n" + (text if body else b"")
