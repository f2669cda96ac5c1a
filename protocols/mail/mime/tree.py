"""Splits the bytes of a message into its tree of parts (RFC 2046), in one pass and without copying. Never raises.

Broken trees are read as their senders meant them: a boundary that is missing or not the one that was declared, a
multipart that is not closed or has no parts, parts without a header block.
"""

from protocols.mail.headers import HeaderBlock, header_block, message_block
from protocols.mail.mime.bounds import Bounds
from protocols.mail.mime.delimiters import Delimiters
from protocols.mail.mime.part import Opener, Part


def split(raw: bytes, start: int, end: int, bounds: Bounds, opener: Opener, parent: Part | None = None) -> Part:
    """Return the tree of the message ``raw[start:end]``, whose lines end in CRLF or LF. ``parent`` contains it."""
    return _Split(raw, end, bounds, opener).tree(start, parent)


class _Split:
    def __init__(self, raw: bytes, end: int, bounds: Bounds, opener: Opener) -> None:
        self._raw = raw
        self._end = end
        self._bounds = bounds
        self._opener = opener
        self._delimiters = Delimiters(raw, end)

    def tree(self, start: int, parent: Part | None) -> Part:
        root = last = self._entity(start, message_block(self._raw, start, self._end), parent)
        place = max(root.body - 1, start)
        multiparts = self._delimiters.open
        while multiparts and (line := self._delimiters.next(place)):
            self._close(line.level, last, line.start)
            last, place = multiparts[line.level], line.end
            if line.closes:
                self._delimiters.leave(line.level)
            elif self._bounds.is_full():
                break
            else:
                last = self._child(last, line.end)
                place = max(last.body - 1, place)
        self._close(-1, last, self._end)
        self._mend(root)
        return root

    def _entity(self, start: int, block: HeaderBlock, parent: Part | None, default: str = "text/plain") -> Part:
        self._bounds.count_part()
        for sentence in block.defects:
            self._bounds.note(sentence)
        part = Part(self._raw, start, block.body, block.fields, self._opener, parent=parent, default_type=default)
        part.end = self._end
        if part.is_multipart and not self._bounds.is_deep(part) and not self._delimiters.enter(part):
            self._bounds.note("A boundary is not the one that is declared; the parts were found without it.")
        return part

    def _child(self, parent: Part, delimiter_end: int) -> Part:
        """Return the part of ``parent`` whose delimiter ends at ``delimiter_end``."""
        start = self._raw.find(b"\n", delimiter_end, self._end) + 1 or self._end
        block = header_block(self._raw, start, self._delimiters.block_end(start))
        default = "message/rfc822" if parent.content_type == "multipart/digest" else "text/plain"
        part = self._entity(start, block, parent, default)
        parent.children.append(part)
        return part

    def _close(self, level: int, last: Part, at: int) -> None:
        """End ``last``, and every multipart inside that of ``level``, before the line end at ``at``."""
        end = at - 1 if at < self._end and self._raw[at - 1 : at] == b"\r" else at
        ended = self._delimiters.open[level + 1 :]
        if level < 0 or last is not self._delimiters.open[level]:
            ended.append(last)
        for part in ended:
            part.end = max(end, part.body)
        if last.start == last.end and last.parent is not None and last.parent.children[-1:] == [last]:
            last.parent.children.pop()  # two delimiters one after the other: there is nothing between them
        self._delimiters.leave(level + 1)

    def _mend(self, root: Part) -> None:
        for part in root.walk():
            if part.is_multipart and not part.children and not self._bounds.is_deep(part):
                part.content_type = "text/plain"
                self._bounds.note("A multipart without parts is read as text.")
