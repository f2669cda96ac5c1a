"""A file that was read: plain data, the place of every key and value, and how a mistake in it is shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.cells import cell_len

from gateway.config.diagnostics import Diagnostic
from gateway.config.masking import hide_by_key, speaks_of_secret
from gateway.secret_names import hide_passwords

Loc = tuple[str | int, ...]
"""The way to a value: ``("routes", "mqtt", 0, "topic")``."""

_LEAST_SECRET = 4
"""Characters. Shorter secrets are not masked: they would match everywhere."""
_SHOWN = 120
"""Columns of a line that an excerpt shows."""
_LONGEST = 500
"""Characters of a message that are shown."""


def label(loc: Loc) -> str:
    """Return ``loc`` as text: ``routes.mqtt[0]``. An empty one is the file itself."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    return text.removeprefix(".") or "the file"


class Span(NamedTuple):
    """A place in the text, counted from 0; ``end`` is the column after it, on the same line."""

    line: int
    column: int
    end: int


@dataclass(frozen=True)
class Document:
    """A file that was read. ``problems`` are what is wrong with its form; ``data`` is the rest as plain data."""

    name: str
    folder: Path
    lines: list[str]
    data: Any
    keys: dict[Loc, Span]
    values: dict[Loc, Span]
    texts: dict[Loc, str]
    """Numbers and booleans as they were written: where text is wanted, they are text."""
    references: dict[Loc, dict[str, str]]
    """Values with ``${...}``: the whole value and each reference in it, as written -> as expanded."""
    secrets: dict[Loc, tuple[Span, ...]]
    """Values that no message may show."""
    unset: set[Loc]
    """Values that are unknown, because a problem has been reported for them."""
    problems: list[tuple[Span, str]]

    def diagnostic(self, span: Span, message: str) -> Diagnostic:
        text = hide_passwords(message)
        short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        return Diagnostic(self.name, span.line + 1, span.column + 1, short, self._excerpt(span))

    def at_key(self, loc: Loc, message: str) -> Diagnostic:
        """Return a diagnostic that points to the last key of ``loc``, or to the value if that is an item of a list."""
        return self.diagnostic(self.keys.get(loc) or self.span(loc), self._as_written(loc, message))

    def at_value(self, loc: Loc, message: str, part: str = "") -> Diagnostic:
        """Return a diagnostic that points to the value at ``loc``, or to ``part`` of it if the line shows that."""
        return self.diagnostic(self._within(self.span(loc), part), self._as_written(loc, message))

    def at_part(self, loc: Loc, part: Loc, message: str) -> Diagnostic:
        """Return a diagnostic of the value at ``loc`` that points to ``part``, the place of a value in it."""
        return self.diagnostic(self.span(part), self._as_written(loc, message))

    def _within(self, span: Span, part: str) -> Span:
        for written in (part, part.replace("\\", "\\\\")):  # between double quotes a backslash is written twice
            found = self._text(span.line).find(written, span.column, span.end) if part else -1
            if found >= 0:
                return Span(span.line, found, found + len(written))
        return span

    def _as_written(self, loc: Loc, message: str) -> str:
        """Return ``message`` with each expanded value at ``loc`` or below replaced by its reference."""
        for place, values in self.references.items():
            if place[: len(loc)] == loc:
                least = 1 if place == loc else _LEAST_SECRET
                for written, expanded in values.items():
                    if len(expanded) >= least:
                        message = message.replace(expanded, written).replace(repr(expanded)[1:-1], written)
        return message

    def span(self, loc: Loc) -> Span:
        """Return the place of the value at ``loc``, or of the nearest value around it."""
        while loc and loc not in self.values:
            loc = loc[:-1]
        return self.values.get(loc, Span(0, 0, 1))

    def _excerpt(self, span: Span) -> str:
        if not self.values and not _is_harmless(self.lines, span.line):
            return ""
        before = [self._line(span.line - 1)[0]] if span.line > 0 and self.values else []
        text, moved = self._line(span.line, span.column)
        column = span.column - moved
        width = max(1, min(span.end, len(self._text(span.line))) - span.column)
        first = max(0, column - _SHOWN // 2) if len(text) > _SHOWN else 0
        shown = [_window(line, first) for line in [*before, text]]
        carets = shown[-1][column - first :][: min(width, max(1, len(text) - column))] or "^"
        under = " " * cell_len(shown[-1][: column - first]) + "^" * cell_len(carets)
        numbered = [f"{span.line + 1 - len(before) + n:5} | {line}" for n, line in enumerate(shown)]
        return "\n".join(line.rstrip() for line in [*numbered, f"      | {under}"])

    def _text(self, line: int) -> str:
        return self.lines[line] if line < len(self.lines) else ""

    def _line(self, line: int, column: int = 0) -> tuple[str, int]:
        """Return a line with its secrets masked, and how far that moved the text at ``column`` to the left."""
        text, moved = self._text(line), 0
        hidden = {span for spans in self.secrets.values() for span in spans if span.line == line}
        for span in sorted(hidden, key=lambda span: -span.column):
            text = f"{text[: span.column]}***{text[span.end :]}"
            if span.end <= column:
                moved += span.end - span.column - 3
            elif span.column < column:
                moved += column - span.column
        if not self.values:  # the text did not parse: guess by the line alone
            text = hide_by_key(text)
        return hide_passwords(text), moved


def _window(text: str, first: int) -> str:
    """Return what an excerpt shows of a line from column ``first`` on. Control characters are replaced, one for one."""
    plain = "".join(char if char.isprintable() else " " if char == "\t" else "\ufffd" for char in text)
    head = "..." + plain[first + 3 :] if first else plain
    return head if len(head) <= _SHOWN else f"{head[:_SHOWN]}..."


def _is_harmless(lines: list[str], line: int) -> bool:
    """Return whether a line of a text that did not parse cannot be part of a secret of many lines."""
    before = next((text for text in reversed(lines[:line]) if ":" in text), "")
    return line < len(lines) and ":" in lines[line] and not speaks_of_secret(before)
