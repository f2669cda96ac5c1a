"""The mistakes of a configuration, each with its place, as the operator reads them."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

MOST = 1000
"""The most mistakes of one kind that are reported."""


@dataclass(frozen=True, order=True)
class Diagnostic:
    """One mistake. ``line`` and ``column`` count from 1; ``excerpt`` is the line with carets under the mistake."""

    file: str
    line: int
    column: int
    message: str
    excerpt: str = field(default="", compare=False)

    def with_lines(self, lines: Sequence[str]) -> "Diagnostic":
        """Return the same mistake with further lines below its excerpt, such as those of a module that failed."""
        below = (f"        {line}" for line in lines)
        return replace(self, excerpt="\n".join([self.excerpt, *below]))

    def __str__(self) -> str:
        head = f"{self.file}:{self.line}:{self.column}: error: {self.message}"
        return f"{head}\n{self.excerpt}" if self.excerpt else head


class ConfigErrors(Exception):
    """The file has mistakes; ``diagnostics`` has all of them, in the file's order."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = sorted(set(diagnostics))
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return self.with_end("Nothing was started.")

    def with_end(self, sentence: str) -> str:
        """Return the diagnostics, their number, and ``sentence``, which says what came of it."""
        more = " or more" if len(self.diagnostics) >= MOST else ""
        return "\n".join([*map(str, self.diagnostics), f"{count(len(self.diagnostics), 'error')}{more}. {sentence}"])


class CannotStart(ConfigErrors):
    """The file has no mistakes, and this machine lacks what it asks for."""


def count(number: int, noun: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of ``known`` that ``word`` probably means, or None."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.65)), None)


def suggestion(word: str, known: Iterable[str], *, otherwise: str = "it takes") -> str:
    """Return ``; did you mean 'topic'?`` for a near miss, or ``; it takes app, topic``, or nothing."""
    names = sorted(known)
    if near := nearest(word, names):
        return f"; did you mean {near!r}?"
    shown = names if len(names) <= 12 else [*names[:12], "..."]
    return f"; {otherwise} {', '.join(shown)}" if names else ""
