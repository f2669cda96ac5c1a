"""A story: lines of ``time TAB what``, in the row of the message or claim that it tells of."""

import heapq
import sqlite3
import time
from datetime import UTC, datetime

from gateway.store.engine import Step
from gateway.store.rows import text

LONGEST = 16_000
"""Characters of one story; of a message that is tried for ever, the latest are kept."""
_ERROR = 200


def line(what: str) -> str:
    return f"{time.time():.3f}\t{what}\n"


def failed(error: str, due: float | None = None) -> str:
    """The line of a failed attempt: the error's last line, and when it is tried again."""
    said = text(error).strip().rpartition("\n")[2].replace("\t", " ")[:_ERROR]
    return line(f"failed: {said}" if due is None else f"failed: {said}; waits until {_clock(due)}")


def told(database: sqlite3.Connection, event: str) -> list[Step]:
    """What the claim and the message of ``event`` tell, oldest first; what is of one moment, the claim's first: the
    message was made of it. Each keeps its own order, which a machine's clock that is set back does not change."""
    sql = (
        "SELECT received, story FROM claims WHERE id = ?1 UNION ALL SELECT received, story FROM messages WHERE id = ?1"
    )
    rows = database.execute(sql, [event]).fetchall()
    received = [Step(float(at), "received") for at, _ in rows[:1]]
    return received + list(heapq.merge(*(_steps(str(written)) for _, written in rows), key=lambda step: step.at))


def _steps(story: str) -> list[Step]:
    return [step for each in story.splitlines() if (step := _step(each)) is not None]


def _step(written: str) -> Step | None:
    at, tab, what = written.partition("\t")
    try:
        return Step(float(at), what) if tab else None
    except ValueError:
        return None  # cut at LONGEST, or damaged


def _clock(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return str(at)
