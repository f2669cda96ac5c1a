"""Compression of WebSocket messages: permessage-deflate (RFC 7692). Pure.

A connection has a :class:`Deflater` and an :class:`Inflater` once its client's offer is accepted. Each keeps a window
of past bytes if the context is taken over from message to message; otherwise it has nothing between two messages.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from protocols.errors import RemoteProtocolError
from protocols.http.frames import too_long

EXTENSION = "permessage-deflate"
MOST_BITS = 15
LEAST_BITS = 9
"""zlib has no raw deflate with a window of 256 bytes, so that an offer that demands 8 is not accepted."""
STEP = 64 * 1024
"""Bytes that are inflated or deflated at once on the loop: half a millisecond. More takes a thread."""
_TAIL = b"\x00\x00\xff\xff"
"""The end of a deflated message, which is not sent (RFC 7692, 7.2.1)."""
_MEMORY = 5
"""zlib's memLevel: 16 KiB of memory, in place of 128 with 8, and hardly a longer result for messages."""
_STREAMS = 8
"""Deflate streams in one message. Usual clients send one without an end."""
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_WORD})(?:[ \t]*=[ \t]*(?:({_WORD})|"({_WORD})"))?[ \t]*')
_BITS = re.compile(r"[89]|1[0-5]")
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_LONGEST_OFFER = 2048
"""Characters of all offers together. Browsers write fifty."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the two sides have agreed on."""

    server_bits: int
    """The window of what the server sends is two to the power of this."""
    client_bits: int
    """That of what the client sends."""
    server_takes_over: bool
    client_takes_over: bool
    answer: str
    """The value of Sec-WebSocket-Extensions."""


def agree(offers: Iterable[bytes], bits: int, *, takes_over: bool) -> Agreement | None:
    """Accept the first offer of ``permessage-deflate`` that can be kept (RFC 7692, 5); None: there is none.

    ``offers`` are the values of Sec-WebSocket-Extensions, ``bits`` and ``takes_over`` what the server wants itself.
    """
    text = b",".join(offers).decode("latin-1")
    if EXTENSION not in text or len(text) > _LONGEST_OFFER:
        return None
    for offer in text.split(","):
        name, semicolon, rest = offer.partition(";")
        if name.strip() == EXTENSION and (parameters := _parameters(semicolon + rest)) is not None:
            made = _agree(parameters, bits, takes_over=takes_over)
            if made is not None:
                return made
    return None


def _parameters(text: str) -> dict[str, str | None] | None:
    """The parameters of an offer; None if it has one that is unknown, wrong, or there twice (RFC 7692, 7.1)."""
    found: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None or match[1] in found or not _is_valid(match[1], value := match[2] or match[3]):
            return None
        found[match[1]] = value
        at = match.end()
    return found


def _is_valid(name: str, value: str | None) -> bool:
    if name in _FLAGS:
        return value is None
    if value is None:
        return name == "client_max_window_bits"
    return name in ("client_max_window_bits", "server_max_window_bits") and _BITS.fullmatch(value) is not None


def _agree(offer: dict[str, str | None], bits: int, *, takes_over: bool) -> Agreement | None:
    server_bits = min(bits, int(offer.get("server_max_window_bits") or MOST_BITS))
    if server_bits < LEAST_BITS:
        return None
    may_limit = "client_max_window_bits" in offer
    client_bits = min(bits, int(offer.get("client_max_window_bits") or MOST_BITS)) if may_limit else MOST_BITS
    server_takes_over = takes_over and "server_no_context_takeover" not in offer
    client_takes_over = takes_over and "client_no_context_takeover" not in offer
    parts = [EXTENSION]
    if not server_takes_over:
        parts.append("server_no_context_takeover")
    if not client_takes_over:
        parts.append("client_no_context_takeover")
    if server_bits < MOST_BITS:
        parts.append(f"server_max_window_bits={server_bits}")
    if may_limit:
        parts.append(f"client_max_window_bits={client_bits}")
    answer = "; ".join(parts)
    return Agreement(server_bits, max(client_bits, LEAST_BITS), server_takes_over, client_takes_over, answer)


class Deflater:
    """Compresses what the server sends."""

    __slots__ = ("_bits", "_stream", "_takes_over")

    def __init__(self, bits: int, *, takes_over: bool) -> None:
        self._bits = bits
        self._takes_over = takes_over
        self._stream: Any = None

    def deflate(self, message: bytes) -> bytes:
        """Compress one message, which is not empty."""
        stream = self._stream
        if stream is None:
            stream = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, -self._bits, _MEMORY)
            if self._takes_over:
                self._stream = stream
        deflated: bytes = stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)
        return deflated.removesuffix(_TAIL)


class Inflater:
    """Inflates what the client sends, and never more of a message than ``longest`` bytes and one."""

    __slots__ = ("_bits", "_longest", "_message", "_rest", "_stream", "_takes_over")

    def __init__(self, bits: int, longest: int, *, takes_over: bool) -> None:
        self._bits = bits
        self._longest = longest
        self._takes_over = takes_over
        self._stream: Any = None
        self._rest: bytes | bytearray = b""
        """What is not inflated yet of the message that is begun."""
        self._message = bytearray()

    def begin(self, message: bytearray) -> bytes | None:
        """Inflate ``message``, if it has less than :data:`STEP` bytes before that and then; otherwise only begin.
        Raises as :meth:`finish` does."""
        is_long = len(message) >= STEP  # a megabyte of blocks without content takes 60 ms
        message += _TAIL
        self._rest = message
        if is_long:
            return None
        most = min(STEP, self._longest + 1)
        piece = b"".join(self._inflate(most))
        if len(piece) < most:
            return self._ended(piece)
        self._message += piece
        return None

    def finish(self) -> bytes:
        """Inflate the rest, for which another thread may be better.

        Raises RemoteProtocolError if the message is too long, or is not deflated.
        """
        message, self._message = self._message, bytearray()
        if (left := self._longest + 1 - len(message)) > 0:
            for piece in self._inflate(left):
                message += piece
        if len(message) > self._longest:
            raise too_long()
        return self._ended(bytes(message))

    def _ended(self, message: bytes) -> bytes:
        self._rest = b""
        if not self._takes_over:
            self._stream = None
        return message

    def _inflate(self, most: int) -> Iterator[bytes]:
        """Inflate up to ``most`` bytes. A client may end a deflate stream within a message and begin another one."""
        for _ in range(_STREAMS):
            if self._stream is None:
                self._stream = zlib.decompressobj(-self._bits)
            try:
                piece = self._stream.decompress(self._rest, most)
            except zlib.error as error:
                raise RemoteProtocolError("a message that is not deflated", answer=1007) from error
            most -= len(piece)
            yield piece
            if not self._stream.eof:
                self._rest = self._stream.unconsumed_tail
                return
            self._rest, self._stream = self._stream.unused_data, None
            if not most or self._rest in (b"", _TAIL):  # some clients only end the stream
                return
        raise RemoteProtocolError("a message of too many deflate streams", answer=1007)
