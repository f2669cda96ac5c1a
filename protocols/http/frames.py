"""The frames of WebSocket (RFC 6455, 5), as a server reads and writes them. Pure: bytes in, messages out.

aiohttp's reader has been here. It accepts frames without a mask, lengths in too many bytes, a reserved bit in a control
frame, and a second message behind an empty fragment, so each frame had to be parsed again beside it.
"""

import codecs
from struct import Struct
from typing import Any

from protocols.errors import RemoteProtocolError
from protocols.http.events import is_sendable
from protocols.http.library import websocket_mask

FRAGMENT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
COMPRESSED = 0x40
"""The bit RSV1 of a frame's first byte: its message is compressed (RFC 7692, 6)."""
_END = 0x80
_DATA = frozenset({TEXT, BINARY, FRAGMENT, _END | TEXT, _END | BINARY, _END | FRAGMENT})
_CONTROL = frozenset({_END | CLOSE, _END | PING, _END | PONG})
_VIEWED = 4096
"""Bytes of a payload from which on a copy costs more than a memoryview."""
_WHOLE_TEXT = _END | TEXT
_SMALLEST = 64
"""Bytes that the fragments of a message have on average, at least. Some clients send tiny ones."""
_FREE_FRAGMENTS = 1024
"""Fragments of a message that may be smaller than that."""
_SHORT, _MEDIUM, _LONG = Struct("!BB").pack, Struct("!BBH").pack, Struct("!BBQ").pack

Content = Any
"""A ``str`` of a text, ``bytes`` of binary data, a ping or a pong; ``(code, reason)`` of a close; a ``bytearray`` of a
message that is compressed; None of a fragment."""


def frame(first: int, payload: bytes) -> bytes:
    """One unmasked frame, as a server sends it. ``first`` is its opcode, with :data:`COMPRESSED` or without."""
    size = len(payload)
    if size < 126:
        return _SHORT(_END | first, size) + payload
    return head(first, size) + payload


def head(first: int, size: int) -> bytes:
    """The bytes of a frame before its payload of ``size`` bytes."""
    if size < 126:
        return _SHORT(_END | first, size)
    if size < 65536:
        return _MEDIUM(_END | first, 126, size)
    return _LONG(_END | first, 127, size)


class FrameReader:
    """Reads what a client sends, one frame at a time.

    Memory: one message of ``longest`` bytes, and the bytes that were fed and are not read yet.
    """

    __slots__ = (
        "_at",
        "_data",
        "_first",
        "_fragments",
        "_legal",
        "_longest",
        "_mask",
        "_message",
        "_missing",
        "_opcode",
        "_payload",
        "_utf8",
    )

    def __init__(self, longest: int, *, inflates: bool = False) -> None:
        self._longest = longest
        self._legal = _DATA | _CONTROL
        if inflates:
            self._legal |= {COMPRESSED | each for each in _DATA if each & 15 != FRAGMENT}
        self._data = b""
        self._at = 0
        """Where the next frame begins, or the rest of this one."""
        self._first = 0
        """The first byte of the frame whose payload is coming."""
        self._mask = b""
        self._payload = bytearray()
        """What has come of its payload, masked."""
        self._missing = 0
        """Bytes of its payload that are still to come."""
        self._opcode = 0
        """The opcode of the message that has begun, with :data:`COMPRESSED` if it is; 0 if none has begun."""
        self._message = bytearray()
        self._fragments = 0
        self._utf8: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes, which :meth:`next` reads."""
        if self._at < len(self._data):
            data = self._data[self._at :] + data
        self._data, self._at = data, 0

    def next(self) -> tuple[int, Content] | None:
        """Read one frame: its opcode, and its message or what it has. None: more bytes are needed.

        The opcode of a message is that of its first frame, with :data:`COMPRESSED` if it is. A fragment that is not the
        last one is :data:`FRAGMENT`. Raises RemoteProtocolError, with the code of the close frame as its answer. Then
        nothing can be read any more.
        """
        data, at = self._data, self._at
        if self._missing:
            return self._go_on()
        ready = len(data) - at
        if ready < 2:
            return None
        first, second = data[at], data[at + 1]
        if second < 0x80 or first not in self._legal:
            raise _broken_head(first, second)
        size, start = second & 0x7F, at + 6
        if size > 125:
            start = at + (8 if size == 126 else 14)
            if ready < start - at - 4:
                return None
            size = _extended(first, data[at + 2 : start - 4])
        if self._opcode or size > self._longest or not first & 15:
            self._check_order(first, size)
        end = start + size
        if end > len(data):
            return self._begin_payload(first, start, end)
        payload = bytearray(data[start:end] if size < _VIEWED else memoryview(data)[start:end])
        self._at = end
        websocket_mask(data[start - 4 : start], payload)
        return (TEXT, _text(payload)) if first == _WHOLE_TEXT else self._read(first, payload)

    def _begin_payload(self, first: int, start: int, end: int) -> tuple[int, Content] | None:
        """Take what has come of a payload, so that the bytes of a large message are copied once."""
        data = self._data
        if len(data) >= start:
            self._first, self._mask, self._missing = first, data[start - 4 : start], end - len(data)
            self._payload = bytearray(memoryview(data)[start:])
            self._data, self._at = b"", 0
        return None

    def _go_on(self) -> tuple[int, Content] | None:
        """Take more of the payload of a frame whose head has been read."""
        data, at, missing = self._data, self._at, self._missing
        ready = len(data) - at
        if ready <= missing and not at:
            self._payload += data
        else:
            self._payload += memoryview(data)[at : at + missing]
        if ready < missing:
            self._missing -= ready
            self._data, self._at = b"", 0
            return None
        self._at, self._missing = at + missing, 0
        payload, self._payload = self._payload, bytearray()
        websocket_mask(self._mask, payload)
        return self._read(self._first, payload)

    def _check_order(self, first: int, size: int) -> None:
        """Check the head of a frame against what came before it."""
        if first & 15 >= CLOSE:
            return
        if first & 15 == FRAGMENT:
            if not self._opcode:
                raise RemoteProtocolError("a continuation of no message", answer=1002)
            size += len(self._message)
        elif self._opcode:
            raise RemoteProtocolError("a message within another one", answer=1002)
        if size > self._longest:
            raise too_long()

    def _read(self, first: int, payload: bytearray) -> tuple[int, Content]:
        opcode = first & 15
        if opcode < CLOSE:
            return self._piece(first, payload)
        if opcode == CLOSE:
            return opcode, _close(payload)
        return opcode, bytes(payload)

    def _piece(self, first: int, payload: bytearray) -> tuple[int, Content]:
        """Put a message together."""
        opcode = first & ~_END
        if opcode:
            if first & _END:
                return opcode, _content(opcode, payload)
            self._begin(opcode)
        self._fragments += 1
        self._message += payload
        if self._fragments > _FREE_FRAGMENTS + len(self._message) // _SMALLEST:
            raise RemoteProtocolError("a message in too many fragments", answer=1008)
        if self._utf8 is not None:
            self._check_text(payload, is_last=bool(first & _END))
        if not first & _END:
            return FRAGMENT, None
        opcode, self._opcode = self._opcode, 0
        message, self._message = self._message, bytearray()
        return opcode, _content(opcode, message)

    def _begin(self, opcode: int) -> None:
        self._opcode, self._fragments = opcode, 0
        self._utf8 = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT else None

    def _check_text(self, payload: bytearray, *, is_last: bool) -> None:
        """Find bytes that are not UTF-8 before the rest of the message comes (RFC 6455, 8.1)."""
        assert self._utf8 is not None
        try:
            self._utf8.decode(payload, is_last)
        except UnicodeDecodeError as error:
            raise _not_utf8() from error


def _extended(first: int, size: bytes) -> int:
    """The length in the bytes that follow the second one. They are the fewest possible (RFC 6455, 5.2)."""
    if first in _CONTROL:
        raise RemoteProtocolError("a control frame of more than 125 bytes", answer=1002)
    number = int.from_bytes(size)
    if number < (126 if len(size) == 2 else 65536) or number >> 63:
        raise RemoteProtocolError("a length in too many bytes", answer=1002)
    return number


def _broken_head(first: int, second: int) -> RemoteProtocolError:
    if second < 0x80:
        return RemoteProtocolError("a frame without a mask (RFC 6455, 5.1)", answer=1002)
    if first & 0x70:
        return RemoteProtocolError("a reserved bit is set", answer=1002)
    if first & 15 in (CLOSE, PING, PONG):
        return RemoteProtocolError("a control frame in fragments", answer=1002)
    return RemoteProtocolError("an unknown opcode", answer=1002)


def too_long() -> RemoteProtocolError:
    """The error of a message that is longer than ``max_message``."""
    return RemoteProtocolError("a message longer than max_message", answer=1009)


def _not_utf8() -> RemoteProtocolError:
    return RemoteProtocolError("text that is not UTF-8", answer=1007)


def _content(opcode: int, message: bytearray) -> str | bytes | bytearray:
    if opcode == TEXT:
        return _text(message)
    return bytes(message) if opcode == BINARY else message


def _text(message: bytearray | bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8() from error


def inflated(opcode: int, message: bytes) -> tuple[int, Content]:
    """What :meth:`FrameReader.next` would have returned for the message if it had not been compressed."""
    plain = opcode & ~COMPRESSED
    return plain, _text(message) if plain == TEXT else message


def _close(payload: bytearray) -> tuple[int, str]:
    """The code and the reason of a close frame; 1005 if it has none (RFC 6455, 7.1.5)."""
    if not payload:
        return 1005, ""
    code = int.from_bytes(payload[:2])
    if len(payload) < 2 or not is_sendable(code):
        raise RemoteProtocolError("a close code that may not be sent", answer=1002)
    return code, _text(payload[2:])
