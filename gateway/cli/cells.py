"""What tables show: text of strangers on one short line, ages and times."""

from datetime import UTC, datetime

from gateway.logs.escaping import visible

_WIDTH = 60
"""Characters of a cell."""
_AGES = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def cell(text: str) -> str:
    """Return ``text`` for a cell: control characters are escapes, and what is too long is cut."""
    line = " ".join(visible(text[: 4 * _WIDTH]).split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def age(seconds: float) -> str:
    """``3h``, ``12d``: in the largest unit that fits."""
    size, unit = next((each for each in _AGES if seconds >= each[0]), _AGES[-1])
    return f"{max(0, int(seconds // size))}{unit}"


def at(moment: float) -> str:
    """Unix time, as local time."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
