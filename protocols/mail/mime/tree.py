"""Parses the raw bytes of a message into its tree of parts (RFC 2046), in one pass and without copying. Never raises.

Broken trees are read as their senders meant them: a boundary that is missing or not the one that was declared, a
multipart that is not closed or has no parts, parts without a header block.
"""

import re
from collections.abc import Callable, Iterable
from itertools import count

from protocols.mail.headers import MAX_HEADER_BLOCK, HeaderBlock, Headers, header_block, lf_ended, message_block
from protocols.mail.mime.limits import Limits
from protocols.mail.mime.parameters import boundary
from protocols.mail.mime.part import Part
from protocols.mail.mime.signed_data import signed_content
from protocols.mail.mime.tnef import TnefEntity, read_tnef
from protocols.mail.mime.transfer import is_encoded

_PREAMBLE = 16 * 1024
"""Bytes behind the header block of a multipart in which its first boundary is looked for before another one is."""
_DELIMITER = re.compile(rb"\n--([^\r\n]{1,1000})")
"""A line that may be a delimiter. The line end before it belongs to it (RFC 2046, 5.1.1)."""
_BLOCK_END = re.compile(rb"\n(?:\r?\n|--([^\r\n]{1,1000}))")
_LONGEST_BOUNDARY = 200
"""Bytes. RFC 2046 (5.1.1) allows 70."""
_MOST_LIKE_IT = 20
"""Lines that begin as a delimiter and go on, which are looked at before another boundary is looked for."""
_MISSES = 500
"""Lines that look like delimiters and are none, one after another."""
_MOST_PATTERNS = 20
"""Regular expressions that are compiled for one message."""
_LIKELY = re.compile(rb"\n--([^\r\n]{1,200})\r?\n(?=\r?\n|content-)", re.IGNORECASE)
"""The first delimiter of a multipart whose declared boundary is not there."""
_TNEF_TYPES = ("application/ms-tnef", "application/vnd.ms-tnef", "application/x-tnef")
_FIRST_FIELD = 100
"""Bytes at the beginning of a message in which there is a colon, which base64 has none of."""
_RICH_TEXT = "The formatted text in winmail.dat cannot be read."
_SIGNED_TYPES = ("application/pkcs7-mime", "application/x-pkcs7-mime")


def parse(raw: bytes, limits: Limits | None = None) -> Part:
    """Return the tree of the message ``raw``. What is over ``limits``, or was mended, is in ``defects``."""
    return _Message(limits or Limits()).parse(lf_ended(raw))


class _Message:
    """What all parts of one message share: its bounds, and how much of them is used."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.parts = 0
        self.opened = 0
        self.patterns = 0
        self.defects: list[str] = []

    def note(self, sentence: str) -> None:
        if sentence not in self.defects:
            self.defects.append(sentence)

    def parse(self, raw: bytes, start: int = 0, end: int | None = None, parent: Part | None = None) -> Part:
        return _Tree(self, raw, len(raw) if end is None else end).parse(start, parent)

    def is_full(self) -> bool:
        """Whether there are as many parts as are allowed. Then that is a defect."""
        if self.parts < self.limits.parts:
            return False
        self.note(f"Only the first {self.limits.parts:,} parts are read.")
        return True

    def is_deep(self, part: Part) -> bool:
        """Whether nothing may be inside ``part``, because it is inside too many others. Then that is a defect."""
        if part.depth < self.limits.depth:
            return False
        self.note(f"Parts inside more than {self.limits.depth} others are not read.")
        return True

    def open(self, part: Part) -> Part | None:
        if part.is_message:
            return self._opened(part, self._as_message)
        if part.effective_type in _SIGNED_TYPES:
            return self._opened(part, self._as_signed)
        if part.effective_type in _TNEF_TYPES:
            return self._opened(part, self._as_tnef)
        return None

    def _opened(self, part: Part, read: Callable[[Part], Part | None]) -> Part | None:
        return None if self.is_full() or self.is_deep(part) else read(part)

    def _as_message(self, part: Part) -> Part | None:
        says_base64 = part.encoding == "base64" and b":" in part.payload[:_FIRST_FIELD].tobytes()
        if says_base64 or not is_encoded(part.encoding):
            return self.parse(part.raw, part.body, part.end, part)
        content = self._content(part)
        return None if content is None else self.parse(lf_ended(content), parent=part)

    def _as_signed(self, part: Part) -> Part | None:
        if part.parameters.get("smime-type", "signed-data").lower() != "signed-data":
            return None
        content = self._content(part)
        signed = None if content is None else signed_content(content)
        return None if signed is None else self.parse(signed, parent=part)

    def _as_tnef(self, part: Part) -> Part | None:
        content = self._content(part)
        tnef = None if content is None else read_tnef(content)
        if content is None or tnef is None:
            return None
        top = around = self._virtual(content, part, [(b"content-type", b"multipart/mixed")])
        if len(tnef.bodies) > 1:
            around = self._virtual(content, top, [(b"content-type", b"multipart/alternative")])
            top.children.append(around)
        self._add(content, around, tnef.bodies)
        if tnef.rich_text and not tnef.bodies:
            self.note(_RICH_TEXT)
            top.children.append(self._virtual(f"[{_RICH_TEXT}]".encode(), top, [(b"content-type", b"text/plain")]))
        self._add(content, top, tnef.attachments)
        return top if top.children else None

    def _add(self, content: bytes, parent: Part, entities: Iterable[TnefEntity]) -> None:
        for entity in entities:
            if self.is_full():
                return
            part = self._virtual(content, parent, entity.headers())
            part.start, part.body, part.end = entity.start, entity.start, entity.end
            parent.children.append(part)

    def _virtual(self, content: bytes, parent: Part, headers: Headers) -> Part:
        """Return a part that no header block describes."""
        self.parts += 1
        return Part(content, 0, 0, headers, self, parent=parent)

    def _content(self, part: Part) -> bytes | None:
        """Return the decoded body, unless what has been opened together is over the bound."""
        self.opened += part.size
        if self.opened > self.limits.opened:
            self.note(f"Attached messages of more than {self.limits.opened:,} bytes in all are not opened.")
            return None
        return part.decoded()


class _Tree:
    """The pass over one message: the multiparts that are open, outermost first, and the delimiters of each."""

    def __init__(self, message: _Message, raw: bytes, end: int) -> None:
        self.message = message
        self.raw = raw
        self.end = end
        self.open: list[tuple[bytes, Part]] = []
        self.levels: dict[bytes, int] = {}

    def parse(self, start: int, parent: Part | None) -> Part:
        root = last = self._entity(start, message_block(self.raw, start, self.end), parent)
        place = max(root.body - 1, start)
        while self.open and (line := self._delimiter(place)):
            level, closes = self._found(line[1])
            self._close(level, last, line.start())
            place = line.end()
            if closes:
                last = self.open[level][1]
                self._leave(level)
            elif self.message.is_full():
                last = self.open[level][1]
                break
            else:
                last = self._child(line.end())
                place = max(last.body - 1, place)
        self._close(-1, last, self.end)
        self._mend(root)
        return root

    def _delimiter(self, place: int) -> re.Match[bytes] | None:
        """Return the next delimiter of an open multipart. After many lines that only look like one, the search is left
        to a regular expression of the boundaries."""
        pattern = _DELIMITER
        for misses in count():
            line = pattern.search(self.raw, place, self.end)
            if line is None or self._found(line[1])[0] >= 0:
                return line
            place = line.end()
            if misses == _MISSES and self.message.patterns < _MOST_PATTERNS:
                self.message.patterns += 1
                boundaries = b"|".join(map(re.escape, self.levels))
                pattern = re.compile(rb"\n--((?:%b)(?:--)?[ \t]*)(?=[\r\n]|\Z)" % boundaries)
        return None

    def _found(self, line: bytes) -> tuple[int, bool]:
        """Return the level of the open multipart whose delimiter ``line`` is, or -1, and whether it closes it."""
        name = line.rstrip(b" \t")
        if (level := self.levels.get(name)) is not None:
            return level, False
        return (self.levels.get(name[:-2], -1), True) if name.endswith(b"--") else (-1, False)

    def _push(self, boundary: bytes, part: Part) -> None:
        self.open.append((boundary, part))
        self.levels[boundary] = len(self.open) - 1

    def _close(self, level: int, last: Part, at: int) -> None:
        """End ``last``, and every multipart inside that of ``level``, before the line end at ``at``."""
        end = at - 1 if at < self.end and self.raw[at - 1 : at] == b"\r" else at
        ended = [part for _, part in self.open[level + 1 :]]
        if level < 0 or last is not self.open[level][1]:
            ended.append(last)
        for part in ended:
            part.end = max(end, part.body)
        if last.start == last.end and last.parent is not None and last.parent.children[-1:] == [last]:
            last.parent.children.pop()  # two delimiters one after the other: there is nothing between them
        self._leave(level + 1)

    def _leave(self, level: int) -> None:
        """Forget the open multiparts from ``level`` on."""
        if level < len(self.open):
            del self.open[level:]
            self.levels = {delimiter: number for number, (delimiter, _) in enumerate(self.open)}

    def _entity(self, start: int, block: HeaderBlock, parent: Part | None, default: str = "text/plain") -> Part:
        self.message.parts += 1
        for sentence in block.defects:
            self.message.note(sentence)
        part = Part(self.raw, start, block.body, block.fields, self.message, parent=parent, default_type=default)
        part.end = self.end
        if part.is_multipart and not self.message.is_deep(part):
            delimiter = self._boundary(part)
            if delimiter is not None:
                self._push(delimiter, part)
        return part

    def _child(self, line_end: int) -> Part:
        """Return the part whose delimiter ends at ``line_end``."""
        parent = self.open[-1][1]
        start = self.raw.find(b"\n", line_end, self.end) + 1 or self.end
        block = header_block(self.raw, start, self._block_end(start))
        default = "message/rfc822" if parent.content_type == "multipart/digest" else "text/plain"
        part = self._entity(start, block, parent, default)
        parent.children.append(part)
        return part

    def _block_end(self, start: int) -> int:
        """Return where the header block at ``start`` ends at the latest: at a blank line or at a delimiter."""
        end = min(self.end, start + MAX_HEADER_BLOCK + 1)
        for line in _BLOCK_END.finditer(self.raw, start - 1, end):
            if line[1] is None:
                return line.end()
            if self._found(line[1])[0] >= 0:
                return max(start, line.start())
        return end

    def _boundary(self, part: Part) -> bytes | None:
        """Return the declared boundary, else that of the first line that must be a delimiter."""
        declared = boundary(part.header(b"content-type"))
        if len(declared) > _LONGEST_BOUNDARY:
            declared = b""
        start, end = max(part.body - 1, 0), min(part.body + _PREAMBLE, self.end)
        if declared and self._is_used(declared, start, end):
            return declared
        likely = _LIKELY.search(self.raw, start, end)
        if likely is None or self._found(likely[1])[0] >= 0:
            return declared or None
        self.message.note("A boundary is not the one that is declared; the parts were found without it.")
        return likely[1].rstrip(b" \t")

    def _is_used(self, boundary: bytes, start: int, end: int) -> bool:
        """Whether a line in ``raw[start:end]`` is a delimiter with ``boundary``."""
        for _ in range(_MOST_LIKE_IT):
            start = self.raw.find(b"\n--" + boundary, start, end)
            line = _DELIMITER.match(self.raw, start, end) if start >= 0 else None
            if line is None or line[1].rstrip(b" \t") in (boundary, boundary + b"--"):
                return line is not None
            start += 1
        return False

    def _mend(self, root: Part) -> None:
        for part in root.walk():
            if part.is_multipart and not part.children and not self.message.is_deep(part):
                part.content_type = "text/plain"
                self.message.note("A multipart without parts is read as text.")
