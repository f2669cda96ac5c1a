"""The work that is pending in one folder: messages to try again, and when, and marks to make. Pure: no clock.

It is kept in memory only: a reader that is killed reads every unmarked message again. No message is given up here: the
mailbox is the queue, and an application that has tried often enough accepts the message.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from protocols.mail.imap.marks import Mark

FIRST_WAIT = 30.0
"""Seconds to wait after a message's first failure. The wait doubles after each further one."""
LONGEST_WAIT = 3600.0
"""The longest such wait, in seconds."""
SHORTEST_WAIT = 0.2
"""The shortest wait that the application may ask for: each attempt searches the folder."""


@dataclass(frozen=True, slots=True)
class _Again:
    due: float
    step: float
    """Seconds of the last wait for which the application named no time; 0 if there was none."""


class PendingMessages:
    """The pending messages of a folder, by UID."""

    def __init__(self) -> None:
        self._uidvalidity = 0
        self._again: dict[int, _Again] = {}
        self._owed: dict[int, Mark] = {}
        self._left: set[int] = set()
        self._suspects: set[int] = set()

    def open(self, uidvalidity: int) -> None:
        """Begin a new connection. If the UIDs name other messages now (RFC 3501, 2.3.1.1), forget everything.

        Messages that were left because they had no route are tried again.
        """
        self._left.clear()
        if uidvalidity != self._uidvalidity:
            self._uidvalidity = uidvalidity
            self._again.clear()
            self._owed.clear()
            self._suspects.clear()

    def due(self, uids: Iterable[int], now: float) -> list[int]:
        """Return those of all messages in the folder that are to be handled now, and forget those that are gone."""
        there = set(uids)
        self._again = {uid: again for uid, again in self._again.items() if uid in there}
        self._owed = {uid: mark for uid, mark in self._owed.items() if uid in there}
        self._left &= there
        self._suspects &= there
        waiting = {uid for uid, again in self._again.items() if again.due > now}
        return sorted(there - self._left - self._owed.keys() - waiting)

    def batches(self, uids: Iterable[int], size: int) -> Iterator[list[int]]:
        """Cut ``uids`` into batches to fetch together, in order; each suspect is fetched alone."""
        batch: list[int] = []
        for uid in uids:
            if batch and (len(batch) == size or not self._suspects.isdisjoint((uid, batch[-1]))):
                yield batch
                batch = []
            batch.append(uid)
        if batch:
            yield batch

    def suspect(self, uids: Iterable[int]) -> None:
        """Note that the server failed on these. One of them may be damaged, and must not hold up the others."""
        self._suspects.update(uids)

    def suspected(self, uids: Iterable[int]) -> bool:
        return self._suspects.issuperset(uids)

    def fetched(self, uids: Iterable[int]) -> None:
        """Note that the server has sent these."""
        self._suspects.difference_update(uids)

    def next_due(self) -> float | None:
        """The time at which the next message is to be tried again."""
        return min((again.due for again in self._again.values()), default=None)

    def defer(self, uid: int, now: float, asked: float | None) -> float:
        """Defer a message; return the seconds until the next attempt: ``asked``, if the application named a time."""
        step = self._again[uid].step if uid in self._again else 0.0
        if asked is None:
            wait = step = min(max(FIRST_WAIT, 2 * step), LONGEST_WAIT)
        else:
            wait = max(SHORTEST_WAIT, asked)
        self._again[uid] = _Again(now + wait, step)
        return wait

    def decide(self, uid: int, mark: Mark) -> None:
        """Note the verdict: the handler does not run again in this process, even if marking has to wait."""
        self._again.pop(uid, None)
        if mark.verb == "leave":
            self._left.add(uid)
        else:
            self._owed[uid] = mark

    def owed(self) -> dict[Mark, list[int]]:
        """Return the marks that are still to be made, with the messages of each."""
        marks: dict[Mark, list[int]] = {}
        for uid, mark in self._owed.items():
            marks.setdefault(mark, []).append(uid)
        return marks

    def marked(self, uids: Iterable[int]) -> None:
        for uid in uids:
            self._owed.pop(uid, None)
