"""The time with which a line of the log begins."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

Stamp = Callable[[float], str]
"""Seconds since 1970 -> what a line begins with."""


def stamp_for(wish: bool | None, stream: TextIO) -> Stamp:
    """Return the stamp that the setting `timestamps` asks for, or without it the one that ``stream`` needs."""
    if wish is None and _is_journal(stream):
        return unstamped
    if wish is None and stream.isatty():
        return time_of_day
    return unstamped if wish is False else full_time


def unstamped(time: float) -> str:
    return ""


def time_of_day(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC).astimezone().time().isoformat(timespec='milliseconds')} "


def full_time(time: float) -> str:
    """The time with its offset from UTC, by which lines of several machines can be compared."""
    return f"{datetime.fromtimestamp(time, UTC).astimezone().isoformat(timespec='milliseconds')} "


def _is_journal(stream: TextIO) -> bool:
    """Return whether systemd's journal, which adds the time, reads ``stream`` (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        facts = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"
