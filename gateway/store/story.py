"""The history of a message or a claim: lines of ``time TAB what``, in the column ``story`` of its row."""

import heapq
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.store.rows import text
from gateway.store.values import HistoryEntry

NOT_RECEIVED = 0.0
"""The time of receipt of what code outside of handlers sent: it was not received."""
LONGEST = 16_000
"""Characters of one history. The latest are kept."""
_ERROR = 200


def line(what: str) -> str:
    return f"{time.time():.3f}\t{what}\n"


def failed(error: str, due: float | None = None) -> str:
    """The line of a failed attempt: the error's last line, and when the next attempt is due."""
    reason = text(error).strip().rpartition("\n")[2].replace("\t", " ")[:_ERROR]
    return line(f"failed: {reason}" if due is None else f"failed: {reason}; waits until {_clock(due)}")


def told(rows: Sequence[tuple[float, str]]) -> list[HistoryEntry]:
    """The history in the rows of a claim and of its message, oldest first. A row is the time of receipt, and the story.
    Steps of the claim come before steps of the message at the same time. The steps of a row keep their order, even if
    the machine's clock was set back."""
    received = [HistoryEntry(float(at), "received") for at, _ in rows[:1] if float(at) != NOT_RECEIVED]
    return received + list(heapq.merge(*(_steps(str(written)) for _, written in rows), key=lambda step: step.at))


def _steps(story: str) -> list[HistoryEntry]:
    return [step for each in story.splitlines() if (step := _step(each)) is not None]


def _step(written: str) -> HistoryEntry | None:
    at, tab, what = written.partition("\t")
    try:
        return HistoryEntry(float(at), what) if tab else None
    except ValueError:
        return None  # cut at LONGEST, or damaged


def _clock(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return str(at)
