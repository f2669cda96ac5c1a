"""Writes text as a browser lays it out: white space collapses, line ends do not pile up, and quotes and list items have
their mark at the beginning of each line."""

import re
from itertools import takewhile

_WHITE_SPACE = re.compile(r"[ \t\r\n\f]+")
_AS_TEXT = {0xA0: " ", **dict.fromkeys([0xAD, 0x34F, 0x200B, 0x2060, 0xFEFF])}
"""A no-break space is a space; characters without width, with which preheaders are filled up, are left out."""
_FILLER = " \xa0\xad\u034f\u200b\u200c\u200d\u2060\ufeff"
_DEEPEST = 12
"""Quotes and lists within each other whose marks are shown."""


class Margin:
    """What stands at the beginning of each line of a quote or of a list item."""

    def __init__(self, mark: str, first: str = "") -> None:
        """``first`` stands at the beginning of the first line, in place of ``mark``."""
        self.mark = mark
        self._first = first

    def next(self) -> str:
        mark, self._first = self._first or self.mark, ""
        return mark


class TextWriter:
    """Collects pieces of text, and the line ends between them."""

    def __init__(self) -> None:
        self.margins: list[Margin] = []
        """The margins of the open quotes and list items, outermost first."""
        self.complete: list[str] = []
        """The lines before the current one."""
        self.line: list[str] = []
        """The pieces of the current line, its margin first."""
        self.line_ends = 0
        """Line ends that come before the next piece."""
        self.between = ""
        """What comes before the next piece on the same line: a space, or a tab between cells."""
        self.cell_is_new = False
        """Whether a table cell has just begun: the line ends before its text do not count."""
        self._shown: list[Margin] = []
        """The margins at the beginning of the current line."""
        self._empty_paragraph = False
        """Whether a no-break space, and no text, came since the last line end."""

    def write(self, text: str) -> None:
        """Write inline text, of which white space collapses."""
        text = _WHITE_SPACE.sub(" ", text)
        if text.strip(_FILLER):
            self._put(text.strip(" "), self.between or (" " if text[0] == " " else ""))
            self.between = " " if text[-1] == " " else ""
        else:
            self._empty_paragraph |= "\xa0" in text
            self.between = self.between or " "

    def write_lines(self, text: str) -> None:
        """Write preformatted text, of which white space stays."""
        for number, line in enumerate(text.replace("\r\n", "\n").split("\n")):
            self.line_ends += number > 0
            if line:
                self._put(line, "")
        self.between = ""

    def end_line(self, blank: int = 0) -> None:
        """Begin the next piece on a new line, after ``blank`` empty lines."""
        if not self.cell_is_new:
            self.line_ends = max(self.line_ends, 1 + (blank or self._empty_paragraph))
            self._empty_paragraph = False

    def break_line(self) -> None:
        """End the line, or leave it empty if nothing stands on it."""
        if not self.cell_is_new:
            self.line_ends = min(self.line_ends + 1, 2)

    def text(self) -> str:
        """Return all that was written."""
        lines = [*self.complete, "".join(self.line)]
        return "\n".join(line.rstrip(_FILLER) for line in lines).translate(_AS_TEXT).strip("\n")

    def _put(self, piece: str, between: str) -> None:
        margins = self.margins[:_DEEPEST]
        if self.line_ends and self.line:
            self._complete(margins)
        elif self.line:
            self.line.append(between)
        if not self.line:
            self._shown = margins
            self.line.append("".join([margin.next() for margin in margins]) if margins else "")
        self.line.append(piece)
        self.line_ends, self.cell_is_new, self._empty_paragraph = 0, False, False

    def _complete(self, margins: list[Margin]) -> None:
        """Complete the line. Empty lines below it have the margins that the next line shares with it."""
        self.complete.append("".join(self.line))
        self.line = []
        if self.line_ends > 1:
            shared = takewhile(lambda pair: pair[0] is pair[1], zip(self._shown, margins, strict=False))
            empty = "".join([margin.mark for margin, _ in shared]) if margins else ""
            self.complete += [empty] * (self.line_ends - 1)


class Cell:
    """A table cell. If it has one line only, the next cell goes on behind it."""

    def __init__(self, writer: TextWriter) -> None:
        self._writer = writer
        self._line_ends = writer.line_ends
        self._one_line = int(writer.line_ends > 0 and writer.line != [])
        self._before = self._where()
        writer.cell_is_new = True

    def _where(self) -> tuple[int, int]:
        return len(self._writer.complete), len(self._writer.line)

    def end(self) -> None:
        writer = self._writer
        writer.cell_is_new = False
        if self._where() == self._before:  # it is empty
            writer.line_ends = self._line_ends
        elif len(writer.complete) - self._before[0] <= max(self._one_line, self._line_ends * self._one_line):
            writer.line_ends = 0
        else:
            writer.line_ends = max(writer.line_ends, 1)
        if not writer.line_ends:
            writer.between = "\t"


class Link:
    """The text of a link, from here on."""

    def __init__(self, writer: TextWriter, url: str) -> None:
        self._writer = writer
        self._url = url
        self._complete, self._pieces = len(writer.complete), len(writer.line)

    def end(self) -> None:
        """Write the address behind the text, unless it is the text; a link without text has none."""
        writer = self._writer
        same_line = len(writer.complete) == self._complete
        text = "".join(writer.line[self._pieces if same_line else 1 :])
        if text.strip() and bare(self._url) not in bare(text):
            space = writer.between
            writer.between = " "
            ends, writer.line_ends = writer.line_ends, 0
            writer.write(f"<{self._url}>")
            writer.between, writer.line_ends = space, ends


_SCHEME = re.compile(r"^(?:https?://|ftp://|mailto:|tel:)(?:www\.)?")


def bare(url: str) -> str:
    """Return ``url`` without what people leave out of it."""
    return _SCHEME.sub("", url.strip().lower()).rstrip("/")
