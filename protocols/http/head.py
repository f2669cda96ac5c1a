"""Turns the head of a response from ASGI's header list into bytes. Pure."""

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from protocols.errors import LocalProtocolError

Headers = Iterable[tuple[bytes, bytes]]
Encoded = tuple[bytes, int | None, bool, bool]

_MOST, _LONGEST = 512, 1024
"""Heads that are kept, and bytes of one head or field that is."""
_IN_VAIN, _REST = 1000, 20_000
"""Misses in a row after which nothing is looked up, and responses until it is again."""

_ALSO = {426: b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"}
"""Header fields that a status requires (RFC 6455, 4.4)."""

# RFC 9110, 5.1 and 5.5: a name is a token; a value has visible characters, spaces, tabs and obs-text, no other control.
_FIELD = re.compile(rb"[!#-'*+\-.^_`|~0-9a-z]+: [\t\x20-\x7e\x80-\xff]*\r\n")
_OURS = frozenset({b"content-length", b"connection", b"transfer-encoding", b"date"})
_NO_TRAILERS = _OURS | {
    b"age",
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"expires",
    b"host",
    b"keep-alive",
    b"location",
    b"retry-after",
    b"set-cookie",
    b"te",
    b"trailer",
    b"upgrade",
    b"vary",
    b"www-authenticate",
}
"""Fields of framing, routing, control, authentication and content format (RFC 9110, 6.5.1)."""
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def status_line(status: int) -> bytes:
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class _Heads:
    """Heads that were encoded before: most applications send the same few again and again.

    One with a value of its own in each response (an ETag, a request's id) is never found. After so many misses in a row
    the next ones are not looked up.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[tuple[bytes, bytes], ...], Encoded] = {}
        self._misses = 0

    def encode(self, headers: Headers) -> Encoded:
        """Return the fields as bytes, the Content-Length, and whether the application asks to close the connection,
        and has a Date of its own.

        The server does the framing, so Content-Length, Transfer-Encoding and Connection are taken out. Raises
        LocalProtocolError for a field that would break the framing, or holds another one.
        """
        if self._misses > _IN_VAIN:
            self._misses = self._misses + 1 if self._misses < _REST else 0
            return _checked(headers)
        try:
            key = tuple(headers)
        except TypeError:
            raise _no_pairs() from None
        try:
            found = self._found.get(key)
        except TypeError:  # a pair is a list, or no pair at all
            return _checked(key)
        if found is not None:
            self._misses = 0
            return found
        return self._add(key)

    def _add(self, key: tuple[tuple[bytes, bytes], ...]) -> Encoded:
        self._misses += 1
        encoded = _checked(key)
        if len(encoded[0]) <= _LONGEST:
            if len(self._found) >= _MOST:
                self._found.clear()
            self._found[key] = encoded
        return encoded


encode = _Heads().encode


def _checked(headers: Headers) -> Encoded:
    try:
        return _encode(headers)
    except (TypeError, ValueError, AttributeError) as error:
        raise _no_pairs() from error


def _no_pairs() -> LocalProtocolError:
    return LocalProtocolError("headers are a list of (name, value) pairs, both of them bytes")


def _encode(headers: Headers) -> Encoded:
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
    return fields, length, close, dated


def _line(name: bytes, value: bytes) -> tuple[bytes, bytes | None, int | None]:
    """Return the field in bytes, its lower-case name if the server handles it, and its value if it is a length."""
    return _short_line(name, value) if len(name) + len(value) <= _LONGEST else _any_line(name, value)


def _any_line(name: bytes, value: bytes) -> tuple[bytes, bytes | None, int | None]:
    name = name.lower()  # ASGI requires lower case; not every middleware keeps to it
    line = b"%b: %b\r\n" % (name, value)
    if _FIELD.fullmatch(line) is None:
        field = repr(name.decode("latin-1"))
        raise LocalProtocolError(f"the header {field}: its name is not a token, or its value has a control character")
    return line, name if name in _OURS else None, _length(value) if name == b"content-length" else None


_short_line = lru_cache(maxsize=1024)(_any_line)
"""Applications send the same fields again and again. Long ones would fill the memory."""


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
        return STATUS_LINES[status] + b"".join(_line(*field)[0] for field in headers) + b"\r\n"
    except (TypeError, AttributeError) as error:
        raise _no_pairs() from error


def trailers(headers: Headers) -> bytes:
    """Return fields that follow a chunked body (RFC 9110, 6.5). Raises LocalProtocolError as :func:`encode` does, and
    for a field that means something in a head only."""
    try:
        names = {name.lower() for name, _ in headers}
        lines = b"".join(_line(*field)[0] for field in headers)
    except (TypeError, ValueError, AttributeError) as error:
        raise _no_pairs() from error
    if wrong := _NO_TRAILERS & names:
        raise LocalProtocolError(f"the field {min(wrong).decode('latin-1')!r} belongs in the head, and not in trailers")
    return lines


def plain(status: int, *, body: bool = True, fields: bytes = b"", dated: bool = True) -> bytes:
    """Return a complete, short answer of the server's own in plain text, after which the connection closes. One that is
    not sent now but kept is not ``dated``: only a 5xx may be without (RFC 9110, 6.6.1)."""
    line = status_line(status)
    text = line[9:].strip().partition(b" ")[2]
    framing = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n" % len(text)
    now = date(int(time.time())) if dated else b""
    return line + framing + _ALSO.get(status, b"") + fields + now + b"\r\n" + (text if body else b"")
