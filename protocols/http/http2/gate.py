"""Looks at the head of each frame before h2 gets its bytes: counts floods, and keeps GOAWAY back.

h2 bounds what it keeps, and not what it does: it answers resets, PING and SETTINGS without an end, 10 to 100 µs each,
and some of them without an event.
"""

from struct import Struct
from typing import Protocol

from protocols.http.http2.allowance import Allowance, Flooded
from protocols.http.http2.library import ProtocolError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins with (RFC 9113, 3.4)."""

_HEAD = Struct("!HBBBL")
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 7, 9
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_SETTING = 6
"""Bytes of a setting."""
_MOST_SETTINGS = 1000
"""Settings on one connection: h2 keeps each one that it does not know."""


class Streams(Protocol):
    """The streams of a connection, by number."""

    def is_open(self, number: int) -> bool:
        """Whether the stream has not come to its end, or h2 has yet to hear of it."""

    def take_more(self, number: int) -> bool:
        """Whether the peer may send on it."""

    def is_premature(self, number: int) -> bool:
        """Whether a reset now would mean that the peer has made us work for nothing."""


class Gate:
    """Bytes of a connection in, those for h2 out."""

    __slots__ = (
        "_allowance",
        "_block",
        "_drops",
        "_ended",
        "_head",
        "_is_first",
        "_left",
        "_longest",
        "_reset",
        "_settings",
        "_streams",
        "is_leaving",
    )

    def __init__(self, allowance: Allowance, streams: Streams, longest: int) -> None:
        """``longest``: bytes of a header block, as it is sent."""
        self._allowance = allowance
        self._streams = streams
        self._longest = longest
        self._head = b""
        """The first bytes of a frame's head."""
        self._left = len(PREFACE)
        """Bytes until the next frame."""
        self._drops = False
        """Whether those are kept back."""
        self._block = 0
        """Bytes of a header block whose end has not come."""
        self._ended: set[int] = set()
        """Streams that have ended in the bytes that are being looked at."""
        self._reset: set[int] = set()
        """The ones that a RST_STREAM has ended."""
        self._settings = 0
        self._is_first = True
        self.is_leaving = False
        """Whether the peer has sent GOAWAY: it opens no more streams, and still takes the answers."""

    def admit(self, data: bytes) -> bytes:
        """Return ``data`` for h2, up to the last whole head of a frame, without GOAWAY. Raises Flooded,
        and ProtocolError if the first frame is another one than SETTINGS."""
        data, self._head = self._head + data, b""
        self._ended.clear()
        self._reset.clear()
        at, begin, size = 0, 0, len(data)
        pieces = []
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                if self._drops:
                    begin, self._drops = at, self._left > 0
                continue
            if size - at < 9:
                self._head = data[at:]
                break
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            self._left = high << 8 | low
            if self._is_dropped(kind, stream):
                self._allowance.control()
                pieces.append(data[begin:at])
                self._drops, self.is_leaving = True, True
                begin = at + 9
            else:
                self._count(kind, flags, self._left, stream & 0x7FFFFFFF)
                self._is_first = False
            at += 9
        pieces.append(data[begin:at])
        return b"".join(pieces)

    def _is_dropped(self, kind: int, stream: int) -> bool:
        """Whether the frame is a GOAWAY. h2 would send nothing after it, and discard what it has not sent. One that is
        malformed is an error, which h2 finds."""
        return kind == _GOAWAY and not stream & 0x7FFFFFFF and self._left >= 8 and not self._block

    def _count(self, kind: int, flags: int, length: int, stream: int) -> None:
        if self._is_first and kind != _SETTINGS:
            raise ProtocolError("SETTINGS come first")  # RFC 9113, 3.4; h2 does not mind
        allowance = self._allowance
        if kind in (_HEADERS, _CONTINUATION):
            self._count_block(kind, flags, length)
        elif kind == _DATA:
            if (not length and not flags & _END_STREAM) or not self._is_open(stream):
                allowance.control()
        elif kind == _RST_STREAM and stream not in self._reset and self._streams.is_open(stream):
            if self._streams.is_premature(stream):
                allowance.reset()
            self._reset.add(stream)
            self._ended.add(stream)
        elif kind == _SETTINGS and not flags & _ACK:
            self._settings += length // _SETTING
            allowance.control(1 + length // _SETTING)
            if self._settings > _MOST_SETTINGS:
                raise Flooded("it sends too many settings")
        else:
            allowance.control()
        if kind in (_HEADERS, _DATA) and flags & _END_STREAM:
            self._ended.add(stream)

    def _count_block(self, kind: int, flags: int, length: int) -> None:
        if kind == _CONTINUATION:
            self._allowance.control()
        self._block += length
        if self._block > self._longest:
            raise Flooded("its header block is too long")
        if flags & _END_HEADERS:
            self._block = 0

    def _is_open(self, stream: int) -> bool:
        return stream not in self._ended and self._streams.take_more(stream)
