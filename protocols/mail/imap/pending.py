"""What is still to be done in one folder, and when: messages to try again, marks that are owed. Pure: no clock.

It is kept in memory, and nothing depends on that: a reader that is killed reads again whatever bears no mark. Nobody is
given up here. A mailbox is its own queue, and how often is enough is for the application to say (it accepts then).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from protocols.mail.imap.marks import Mark

FIRST_WAIT = 30.0
"""Seconds after a message's first failure; they double each time,"""
LONGEST_WAIT = 3600.0
"""to so many at most. Where the application says when, it is then,"""
SHORTEST_WISH = 0.2
"""but in so many seconds at least, since each try asks the server for the folder's messages."""


@dataclass(frozen=True, slots=True)
class _Again:
    due: float
    step: float
    """Seconds of the last wait for which the application named no time; 0 where there was none."""


class PendingMessages:
    """By UID."""

    def __init__(self) -> None:
        self._uidvalidity = 0
        self._again: dict[int, _Again] = {}
        self._owed: dict[int, Mark] = {}
        self._left: set[int] = set()
        self._suspects: set[int] = set()

    def open(self, uidvalidity: int) -> None:
        """A new connection. Where the UIDs name other messages now (RFC 3501, 2.3.1.1), all is forgotten.

        What was left for want of a route may have one by now.
        """
        self._left.clear()
        if uidvalidity != self._uidvalidity:
            self._uidvalidity = uidvalidity
            self._again.clear()
            self._owed.clear()
            self._suspects.clear()

    def due(self, uids: Iterable[int], now: float) -> list[int]:
        """Of all messages in the folder, those to handle now. What is no longer there is forgotten."""
        there = set(uids)
        self._again = {uid: again for uid, again in self._again.items() if uid in there}
        self._owed = {uid: mark for uid, mark in self._owed.items() if uid in there}
        self._left &= there
        self._suspects &= there
        waiting = {uid for uid, again in self._again.items() if again.due > now}
        return sorted(there - self._left - self._owed.keys() - waiting)

    def batches(self, uids: Iterable[int], size: int) -> Iterator[list[int]]:
        """``uids`` to fetch together, in order; each suspect alone."""
        batch: list[int] = []
        for uid in uids:
            if batch and (len(batch) == size or not self._suspects.isdisjoint((uid, batch[-1]))):
                yield batch
                batch = []
            batch.append(uid)
        if batch:
            yield batch

    def suspect(self, uids: Iterable[int]) -> None:
        """The server did not give these together. One of them may be damaged, and must not keep it from the others."""
        self._suspects.update(uids)

    def suspected(self, uids: Iterable[int]) -> bool:
        return self._suspects.issuperset(uids)

    def fetched(self, uids: Iterable[int]) -> None:
        """The server gave these."""
        self._suspects.difference_update(uids)

    def next_due(self) -> float | None:
        """When the next message is to be tried again."""
        return min((again.due for again in self._again.values()), default=None)

    def defer(self, uid: int, now: float, wish: float | None) -> float:
        """Not now: seconds until the next try, ``wish`` where the application has one."""
        step = self._again[uid].step if uid in self._again else 0.0
        if wish is None:
            wait = step = min(max(FIRST_WAIT, 2 * step), LONGEST_WAIT)
        else:
            wait = max(SHORTEST_WISH, wish)
        self._again[uid] = _Again(now + wait, step)
        return wait

    def decide(self, uid: int, mark: Mark) -> None:
        """The verdict is known, and the handler does not run again in this process, even if marking must wait."""
        self._again.pop(uid, None)
        if mark.verb == "leave":
            self._left.add(uid)
        else:
            self._owed[uid] = mark

    def owed(self) -> dict[Mark, list[int]]:
        """The marks that are still to be made, the messages of each together."""
        marks: dict[Mark, list[int]] = {}
        for uid, mark in self._owed.items():
            marks.setdefault(mark, []).append(uid)
        return marks

    def marked(self, uids: Iterable[int]) -> None:
        for uid in uids:
            self._owed.pop(uid, None)
