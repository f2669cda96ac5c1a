"""Aligns the cells of lines that are written one after the other."""

from collections.abc import Sequence


class Columns:
    """Each column is as wide as its widest cell so far, up to its limit: a longer cell moves only its own line."""

    def __init__(self, limits: Sequence[int]) -> None:
        self._limits = limits
        self._widths = [0] * len(limits)

    def padded(self, cells: Sequence[str]) -> list[str]:
        """Return ``cells`` with spaces behind each."""
        self.widen(cells)
        return [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]

    def widen(self, cells: Sequence[str]) -> None:
        """Make room for ``cells``. Rows that are all known before the first one is written get the same widths."""
        for number, (cell, limit) in enumerate(zip(cells, self._limits, strict=True)):
            self._widths[number] = max(self._widths[number], min(len(cell), limit))
