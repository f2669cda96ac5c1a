"""Undoes Content-Transfer-Encodings (RFC 2045, 6), as they are found in real mail. Pure; never raises.

Everything is decoded in steps, so that a large attachment can be read without being in memory twice.
"""

import binascii
import io
import re
from collections.abc import Callable, Iterable, Iterator

from protocols.mail.mime.uuencode import decode_lines

STEP = 384 * 1024
"""Encoded bytes that are decoded at once."""

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_FOREIGN = bytes(set(range(256)) - set(_BASE64))
_LETTERS = re.compile(rb"[^=\s]{3}")
_SOFT_BREAK = re.compile(rb"=[ \t]+(?=\r?\n)")

Steps = Iterator[bytes]


def _steps(encoded: memoryview) -> Steps:
    return (bytes(encoded[place : place + STEP]) for place in range(0, len(encoded), STEP))


def _identity(encoded: memoryview) -> Steps:
    return _steps(encoded)


def _base64_digits(encoded: memoryview) -> Steps:
    """Yield the digits, of which each piece but the last has a multiple of four, up to the padding: mailing lists put
    their footers after it. What is no digit is skipped (RFC 2045, 6.8)."""
    rest = b""
    for step in _steps(encoded):
        digits, padding, _ = (rest + step.translate(None, _FOREIGN)).partition(b"=")
        if padding:
            yield digits
            return
        whole = len(digits) // 4 * 4
        yield digits[:whole]
        rest = digits[whole:]
    yield rest


def _base64(encoded: memoryview) -> Steps:
    for digits in _base64_digits(encoded):
        cut = digits[:-1] if len(digits) % 4 == 1 else digits  # one digit alone is six bits: no byte
        yield binascii.a2b_base64(cut + b"=" * (-len(cut) % 4))


def _quoted_printable(encoded: memoryview) -> Steps:
    """Decode by the standard library's decoder, which leaves what is no valid escape as it is."""
    held: list[bytes] = []
    for step in _steps(encoded):
        end = _safe_end(step)
        if end:
            yield _unquoted(b"".join((*held, step[:end])))
            held.clear()
        held.append(step[end:])
    yield _unquoted(b"".join(held))


def _safe_end(step: bytes) -> int:
    """Return an offset at which no escape is cut in two: behind a line, else behind letters; 0 if none."""
    line = step.rfind(b"\n") + 1
    letters = None if line else _LETTERS.search(step, len(step) - 200)
    return letters.end() if letters else line


def _unquoted(piece: bytes) -> bytes:
    if b"= " in piece or b"=\t" in piece:
        piece = _SOFT_BREAK.sub(b"=", piece)
    return binascii.a2b_qp(piece)


def _uuencoded(encoded: memoryview) -> Steps:
    return decode_lines(_lines(encoded))


def _lines(encoded: memoryview) -> Iterable[bytes]:
    rest = b""
    for step in _steps(encoded):
        *lines, rest = (rest + step).split(b"\n")
        yield from lines
    yield rest


_DECODERS: dict[str, Callable[[memoryview], Steps]] = {
    **dict.fromkeys(("base64", "base-64", "x-base64"), _base64),
    **dict.fromkeys(("quoted-printable", "quotedprintable", "quoted printable", "q", "qp"), _quoted_printable),
    **dict.fromkeys(("x-uuencode", "uuencode", "x-uue", "uue", "x-uu"), _uuencoded),
}
"""The encodings, and other names under which senders declare them. Anything else means that nothing is encoded."""


def is_encoded(encoding: str) -> bool:
    """Whether ``encoding`` changes any bytes."""
    return encoding in _DECODERS


def decoded_steps(encoded: memoryview, encoding: str) -> Steps:
    """Yield the decoded bytes, some hundred kilobytes at a time. ``encoding`` is in lower case."""
    return _DECODERS.get(encoding, _identity)(encoded)


def decoded(encoded: memoryview, encoding: str) -> bytes:
    """Return the decoded bytes."""
    if not is_encoded(encoding):
        return bytes(encoded)
    content = io.BytesIO()
    for step in decoded_steps(encoded, encoding):
        content.write(step)
    return content.getvalue()


def decoded_size(encoded: memoryview, encoding: str) -> int:
    """Return the number of decoded bytes."""
    if not is_encoded(encoding):
        return len(encoded)
    if _DECODERS[encoding] is _base64:  # without decoding: twice as fast
        return sum(map(len, _base64_digits(encoded))) * 3 // 4
    return sum(map(len, decoded_steps(encoded, encoding)))


class DecodedStream(io.RawIOBase):
    """A readable binary file of the decoded bytes, which are decoded as they are read.

    After a seek, which readers of archives and images need, all of them are in memory.
    """

    def __init__(self, encoded: memoryview, encoding: str) -> None:
        super().__init__()
        self._encoded = encoded
        self._encoding = encoding
        self._steps = decoded_steps(encoded, encoding)
        self._left = memoryview(b"")
        self._position = 0
        self._whole: io.BytesIO | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self._whole is None:
            if (offset, whence) in ((0, io.SEEK_CUR), (self._position, io.SEEK_SET)):
                return self._position
            self._whole = io.BytesIO(decoded(self._encoded, self._encoding))
            self._whole.seek(self._position)
        return self._whole.seek(offset, whence)

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override] # typeshed's is private
        length = self._decode_into(buffer) if self._whole is None else self._whole.readinto(buffer)
        self._position += length
        return length

    def _decode_into(self, buffer: "bytearray | memoryview") -> int:
        while not self._left:
            step = next(self._steps, None)
            if step is None:
                return 0
            self._left = memoryview(step)
        length = min(len(buffer), len(self._left))
        buffer[:length] = self._left[:length]
        self._left = self._left[length:]
        return length
