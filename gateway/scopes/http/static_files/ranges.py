"""Reads the field Range (RFC 9110, 14). Pure."""

import re
from itertools import pairwise

MOST = 16
"""Ranges of one request. With more of them, or with some that overlap, the field is ignored, as 14.2 allows: each part
of the answer has a head, so that many small ones would be longer than the file."""

_RANGE = re.compile(r"(\d{0,18})-(\d{0,18})", re.ASCII)


class NotSatisfiable(ValueError):
    """All ranges begin behind the end of the file."""


def ranges_in(field: str, size: int) -> list[range]:
    """Return the ranges of a file of ``size`` bytes that ``field`` asks for, in its order; none if it asks for nothing
    that is understood, and gets the whole file. Raises NotSatisfiable."""
    unit, _, text = field.partition("=")
    asked = [each for part in text.split(",", MOST + 1) if (each := part.strip())]
    if unit.strip().lower() != "bytes" or not 0 < len(asked) <= MOST or not size:
        return []
    found = [_range(each, size) for each in asked]
    satisfiable = [each for each in found if each]
    if None in found or _overlap(satisfiable):
        return []
    if not satisfiable:
        raise NotSatisfiable(field)
    return satisfiable


def _range(text: str, size: int) -> range | None:
    """Return the range, which is empty if it begins behind the end; None if it is not one."""
    match = _RANGE.fullmatch(text)
    if match is None or match[0] == "-":
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1 if last else size))


def _overlap(ranges: list[range]) -> bool:
    ordered = sorted(ranges, key=lambda each: each.start)
    return any(later.start < earlier.stop for earlier, later in pairwise(ordered))
