"""Finds files in uuencode (POSIX; what mail programs did before MIME) in text, and decodes them. Pure; never raises."""

import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MOST = 100
"""Files that are looked for in one text."""

_BEGIN = re.compile(rb"(?:\A|(?<=\n))begin(?:-base64)? [0-7]{3,4} ([^\r\n]{1,500})\r?\n")
_LINE = re.compile(rb"[^\r\n]+")
_END = re.compile(rb"\nend[ \t]*\r?(?:\n|\Z)")


@dataclass(frozen=True)
class UuencodedFile:
    """A file that was found in a text: its name as the sender wrote it, and its content."""

    name: bytes
    content: bytes


def decode_lines(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the decoded bytes of each line between ``begin`` and ``end``. Lines that do not decode are left out."""
    for line in lines:
        if line.startswith((b"begin ", b"end")) or not line.strip():
            continue
        yield _line(line.rstrip(b"\r\n")) or b""


def _line(line: bytes) -> bytes | None:
    """Decode one line; None if it is none. Some encoders write a wrong number of padding characters at its end."""
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        length = ((line[0] - 32) & 63) * 4 + 5
        try:
            return binascii.a2b_uu(line[: length // 3])
        except binascii.Error:
            return None


def extract(text: bytes) -> tuple[bytes, list[UuencodedFile]]:
    """Return ``text`` without the uuencoded files in it, and the files. A block that does not decode stays text."""
    kept: list[bytes] = []
    files: list[UuencodedFile] = []
    place = searched = 0
    end = None
    while len(files) < MOST and (begin := _BEGIN.search(text, searched)):
        if end is None or end.start() < begin.end() - 1:
            end = _END.search(text, begin.end() - 1)
        if end is None:
            break
        content, searched = _content(text, begin.end(), end.start() + 1)
        if content is not None:
            files.append(UuencodedFile(begin[1].strip(), content))
            kept.append(text[place : begin.start()])
            place = searched = end.end()
    return b"".join(kept) + text[place:], files


def _content(text: bytes, start: int, end: int) -> tuple[bytes | None, int]:
    """Return the content of the block ``text[start:end]``, and its end; or None, and the beginning of the first line
    that does not decode. Blocks that begin above that line contain it, too, so the search goes on there."""
    pieces: list[bytes] = []
    for line in _LINE.finditer(text, start, end):
        piece = _line(line[0]) if line[0].strip() else b""
        if piece is None:
            return None, line.start()
        pieces.append(piece)
    return b"".join(pieces), end
