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

_MOST, _LONGEST, _LONGEST_NAME = 512, 1024, 64
"""Heads and names that are kept, and bytes of one head and of one name."""
_IN_VAIN, _REST = 1000, 20_000
"""Misses in a row after which nothing is looked up, and responses until it is again."""

_ALSO = {426: b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"}
"""Header fields that a status requires (RFC 6455, 4.4)."""

_TOKEN = re.compile(rb"[!#-'*+\-.^_`|~0-9a-z]+")
"""A name (RFC 9110, 5.1) in lower case."""
_VALUE = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""The characters of a value (RFC 9110, 5.5): visible ones, spaces, tabs and obs-text, no other control."""
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


class _Ends(dict[int, bytes]):
    """By the length of a body, the end of a head that has no other framing. Most answers have one of a few lengths."""

    def __missing__(self, length: int) -> bytes:
        end = b"content-length: %d\r\n\r\n" % length
        if len(self) < _MOST:
            self[length] = end
        return end


ENDS = _Ends()


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
    parts: list[bytes] = []
    length: int | None = None
    close = dated = False
    for name, value in headers:
        start, ours = _NAMES[name]
        if ours is None:
            parts += start, value, b"\r\n"
        elif ours == b"content-length":
            if length is not None and length != _length(value):
                raise LocalProtocolError(
                    f"content-length is {length}, and {_length(value)} as well; leave it out, or write the length"
                )
            length = _length(value)
        elif ours == b"connection":
            close = close or b"close" in value.lower()
        elif ours == b"date":
            parts += start, value, b"\r\n"
            dated = True
    return _joined(parts), length, close, dated


def _joined(parts: list[bytes]) -> bytes:
    """Return the lines of ``parts``: the start of a field, its value, CR LF, and so on.

    They are checked together: their line ends are all that may be left without the characters of values.
    """
    lines = b"".join(parts)
    if len(lines.translate(None, _VALUE)) != len(parts) // 3 * 2:
        wrong = next(
            start for start, value in zip(parts[::3], parts[1::3], strict=True) if value.translate(None, _VALUE)
        )
        raise _malformed(wrong.partition(b":")[0])
    return lines


class _Names(dict[bytes, tuple[bytes, bytes | None]]):
    """By the name of a field, as an application writes it, the start of its line, and its name in lower case if the
    server handles it. Applications send the same names again and again; others would fill the memory."""

    def __missing__(self, name: bytes) -> tuple[bytes, bytes | None]:
        lower = name.lower()  # ASGI requires lower case; not every middleware keeps to it
        if _TOKEN.fullmatch(lower) is None:
            raise _malformed(name)
        made = lower + b": ", lower if lower in _OURS else None
        if len(self) < _MOST and len(name) <= _LONGEST_NAME:
            self[bytes(name)] = made
        return made


_NAMES = _Names()


def _malformed(name: bytes) -> LocalProtocolError:
    field = repr(name.decode("latin-1"))
    return LocalProtocolError(f"the header {field}: its name is not a token, or its value has a control character")


def _lines(headers: Headers) -> bytes:
    """Return ``headers`` as they are, in lines. Raises LocalProtocolError."""
    try:
        return _joined([part for name, value in headers for part in (_NAMES[name][0], value, b"\r\n")])
    except (TypeError, ValueError, AttributeError) as error:
        raise _no_pairs() from error


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
    return STATUS_LINES[status] + _lines(headers) + b"\r\n"


def trailers(headers: Headers) -> bytes:
    """Return fields that follow a chunked body (RFC 9110, 6.5). Raises LocalProtocolError as :func:`encode` does, and
    for a field that means something in a head only."""
    fields = list(headers)
    lines = _lines(fields)
    names = {name.lower() for name, _ in fields}
    if wrong := _NO_TRAILERS & names:
        raise LocalProtocolError(f"the field {min(wrong).decode('latin-1')!r} belongs in the head, and not in trailers")
    return lines


def plain(status: int, *, body: bool = True, fields: bytes = b"", dated: bool = True, closes: bool = True) -> bytes:
    """Return a complete, short answer of the server's own in plain text, after which the connection ``closes``. One
    that is not sent now but kept is not ``dated``: only a 5xx may be without (RFC 9110, 6.6.1)."""
    line = status_line(status)
    text = line[9:].strip().partition(b" ")[2]
    framing = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(text)
    close = b"connection: close\r\n" if closes else b""
    now = date(int(time.time())) if dated else b""
    return line + framing + close + _ALSO.get(status, b"") + fields + now + b"\r\n" + (text if body else b"")
