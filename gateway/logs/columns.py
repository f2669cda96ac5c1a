"""Aligns the cells of lines that are written one after the other."""

from collections.abc import Sequence


class Columns:
    """Each column is as wide as its widest cell so far, up to its limit: a longer cell moves only its own line."""

    def __init__(self, limits: Sequence[int]) -> None:
        self._limits = limits
        self._widths = [0] * len(limits)

    def padded(self, cells: Sequence[str]) -> list[str]:
        """Return ``cells`` with spaces behind each."""
        for number, (cell, limit) in enumerate(zip(cells, self._limits, strict=True)):
            self._widths[number] = max(self._widths[number], min(len(cell), limit))
        return [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
