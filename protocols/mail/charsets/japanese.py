"""Decodes ISO-2022-JP (RFC 1468) as mail programs write it, which is more than the standard has."""

import re
from collections.abc import Callable


def japanese(raw: bytes) -> str:
    """Decode ISO-2022-JP with characters that many senders add to the standard: half-width kana, and those of
    windows-932 (circled numbers, the sign for a company). Each line begins in ASCII (RFC 1468), also where a gateway
    has lost the escape sequence at the end of the line before."""
    if not _UNENDED_SHIFT.search(raw):
        for codec in _STANDARDS:
            if (text := _plainly(raw, codec)) is not None:
                return text
    return "\n".join(_japanese_line(line) if b"\x1b" in line else line.decode() for line in raw.split(b"\n"))


def _plainly(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeError:
        return None


def _japanese_line(line: bytes) -> str:
    before, *pieces = _SHIFT.split(line)
    shifted = zip(pieces[::2], pieces[1::2], strict=True)
    return before.decode() + "".join(_SHIFTED.get(shift, bytes.decode)(piece) for shift, piece in shifted)


def _two_bytes(piece: bytes) -> str:
    """Decode rows and cells of JIS X 0208 by windows-932's table."""
    lost = next((place for found in _LOST_SHIFT.finditer(piece) if not (place := found.start()) % 2), None)
    if lost is not None:
        return _two_bytes(piece[:lost]) + piece[lost + 2 :].decode()
    end = "\r" if piece.endswith(b"\r") else ""
    piece = piece.removesuffix(b"\r")
    pairs = zip(piece[::2], piece[1::2], strict=False)
    return b"".join(_as_cp932(row - 0x21, cell - 0x21) for row, cell in pairs).decode("cp932", "replace") + end


def _as_cp932(row: int, cell: int) -> bytes:
    if not (0 <= row < 94 and 0 <= cell < 94):
        return b"?"
    trail = cell + 0x9F if row % 2 else cell + 0x40 + (cell > 62)
    return bytes((row // 2 + (0x81 if row < 62 else 0xC1), trail))


def _half_width(piece: bytes) -> str:
    return bytes(byte | 0x80 if byte > 0x20 else byte for byte in piece).decode("cp932", "replace")


_SHIFT = re.compile(rb"(\x1b(?:\([BJI]|\$[@B]))")
"""Escape sequences that switch to ASCII, JIS X 0201 (Roman, kana) and JIS X 0208 (1978, 1983); RFC 1468."""
_UNENDED_SHIFT = re.compile(rb"\x1b(?:\$[@B]|\(I)[^\x1b\n]*(?:\n|\Z)")
"""Text that does not switch back to ASCII before the end of its line."""
_LOST_SHIFT = re.compile(rb"\([BJ]")
"""The rest of a switch to ASCII whose ESC a gateway has taken out. As a row and cell it is no character."""
_STANDARDS = ("iso2022_jp", "iso2022_jp_2", "iso2022_jp_ext")
"""Python's codecs, which stop at what is not in the standards."""
_SHIFTED: dict[bytes, Callable[[bytes], str]] = {b"\x1b$B": _two_bytes, b"\x1b$@": _two_bytes, b"\x1b(I": _half_width}
