"""Finds files in uuencode (POSIX; what mail programs did before MIME) in text, and decodes them. Pure; never raises."""

import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MOST = 100
"""Files that are looked for in one text."""

_BEGIN = re.compile(rb"(?:\A|(?<=\n))begin(?:-base64)? [0-7]{3,4} ([^\r\n]{1,500})\r?\n")
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
    place = 0
    while len(files) < MOST and (begin := _BEGIN.search(text, place)):
        end = _END.search(text, begin.end() - 1)
        if end is None:
            break
        content = _content(text[begin.end() : end.start() + 1])
        kept.append(text[place : begin.end() if content is None else begin.start()])
        place = begin.end()
        if content is not None:
            files.append(UuencodedFile(begin[1].strip(), content))
            place = end.end()
    return b"".join(kept) + text[place:], files


def _content(block: bytes) -> bytes | None:
    pieces = [_line(line) for line in block.splitlines() if line.strip()]
    return None if None in pieces else b"".join(filter(None, pieces))
