"""The multiparts that are open while a message is read, and the lines that delimit their parts (RFC 2046, 5.1.1)."""

import re
from itertools import count
from typing import NamedTuple

from protocols.mail.headers import MAX_HEADER_BLOCK
from protocols.mail.mime.parameters import boundary
from protocols.mail.mime.part import Part

_LONGEST_BOUNDARY = 200
"""Bytes. RFC 2046 allows 70."""
_LINE = re.compile(rb"\n--([^\r\n]{1,1000})")
"""A line that may be a delimiter. The line end before it belongs to it."""
_BLOCK_END = re.compile(rb"\n(?:\r?\n|--([^\r\n]{1,1000}))")
_MISSES = 500
"""Lines that look like delimiters and are none, one after another, before the search is left to a pattern."""
_MOST_PATTERNS = 20
"""Regular expressions that are compiled for one message."""
_PREAMBLE = 16 * 1024
"""Bytes behind the header block of a multipart in which its first boundary is looked for before another one is."""
_MOST_LIKE_IT = 20
"""Lines that begin as a delimiter and go on, which are looked at before another boundary is looked for."""
_LIKELY = re.compile(rb"\n--([^\r\n]{1,200})\r?\n(?=\r?\n|content-)", re.IGNORECASE)
"""The first delimiter of a multipart whose declared boundary is not there."""


class Delimiter(NamedTuple):
    """A delimiter of the multipart at ``level``. ``start`` is the line end before it, ``end`` the end of its text."""

    start: int
    end: int
    level: int
    closes: bool


class Delimiters:
    """The open multiparts of ``raw[:end]``, outermost first. One pass over the bytes finds the delimiters of all."""

    def __init__(self, raw: bytes, end: int) -> None:
        self._raw = raw
        self._end = end
        self._levels: dict[bytes, int] = {}
        self._boundaries: list[bytes] = []
        self._patterns = 0
        self.open: list[Part] = []

    def enter(self, part: Part) -> bool:
        """Open a multipart. Returns False if its boundary is not the declared one, but was found in its lines."""
        declared = boundary(part.header(b"content-type"))
        if len(declared) > _LONGEST_BOUNDARY:
            declared = b""
        start, end = max(part.body - 1, 0), min(part.body + _PREAMBLE, self._end)
        found = declared if declared and self._is_used(declared, start, end) else self._likely(start, end)
        if found or declared:
            self.open.append(part)
            self._boundaries.append(found or declared)
            self._levels[found or declared] = len(self.open) - 1
        return found in (declared, b"")

    def leave(self, level: int) -> None:
        """Close the multiparts from ``level`` on."""
        if level < len(self.open):
            del self.open[level:], self._boundaries[level:]
            self._levels = {boundary: number for number, boundary in enumerate(self._boundaries)}

    def next(self, place: int) -> Delimiter | None:
        """Return the first delimiter behind ``place``. It takes time linear in the bytes, however many boundaries there
        are; after many lines that only look like one, less."""
        pattern = _LINE
        for misses in count():
            dash = self._raw.find(b"-", place + 1, self._end)  # base64 has none: ten times as fast as the pattern
            line = pattern.search(self._raw, dash - 1, self._end) if dash >= 0 else None
            if line is None:
                return None
            level, closes = self._found(line[1])
            if level >= 0:
                return Delimiter(line.start(), line.end(), level, closes)
            place = line.end()
            if misses == _MISSES and self._patterns < _MOST_PATTERNS:
                pattern = self._pattern()
        return None

    def block_end(self, start: int) -> int:
        """Return where a header block at ``start`` ends at the latest: at a blank line or before a delimiter."""
        end = min(self._end, start + MAX_HEADER_BLOCK + 1)
        for line in _BLOCK_END.finditer(self._raw, start - 1, end):
            if line[1] is None:
                return line.end()
            if self._found(line[1])[0] >= 0:
                return max(start, line.start())
        return end

    def _pattern(self) -> re.Pattern[bytes]:
        self._patterns += 1
        boundaries = b"|".join(map(re.escape, self._levels))
        return re.compile(rb"\n--((?:%b)(?:--)?[ \t]*)(?=[\r\n]|\Z)" % boundaries)

    def _found(self, line: bytes) -> tuple[int, bool]:
        """Return the level of the open multipart whose delimiter ``line`` is, or -1, and whether it closes it."""
        name = line.rstrip(b" \t")
        if (level := self._levels.get(name)) is not None:
            return level, False
        return (self._levels.get(name[:-2], -1), True) if name.endswith(b"--") else (-1, False)

    def _is_used(self, boundary: bytes, start: int, end: int) -> bool:
        """Whether a line in ``raw[start:end]`` is a delimiter with ``boundary``."""
        for _ in range(_MOST_LIKE_IT):
            start = self._raw.find(b"\n--" + boundary, start, end)
            line = _LINE.match(self._raw, start, end) if start >= 0 else None
            if line is None or line[1].rstrip(b" \t") in (boundary, boundary + b"--"):
                return line is not None
            start += 1
        return False

    def _likely(self, start: int, end: int) -> bytes:
        """Return the boundary of the first line that must be a delimiter of a multipart that is not open yet."""
        line = _LIKELY.search(self._raw, start, end)
        return b"" if line is None or self._found(line[1])[0] >= 0 else line[1].rstrip(b" \t")
