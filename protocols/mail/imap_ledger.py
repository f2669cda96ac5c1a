"""What a reader knows of the messages of one folder between two looks at it. Pure: the caller has the clock.

It is kept in memory: a reader that is killed knows nothing afterwards, and reads again whatever bears no mark.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from protocols.mail.imap_marks import Mark

LONGEST_BACKOFF = 3600.0
"""Seconds between two attempts, at most, where the handler did not say."""
LONGEST_WISH = 86400.0
"""And where it did."""


SHORTEST_WISH = 0.2
"""At least: each try asks the server for the folder's messages."""


@dataclass(slots=True)
class _Try:
    count: int = 0
    due: float = 0.0


class Ledger:
    """``attempts``: how often a message is tried. ``backoff``: seconds before the second try; it doubles."""

    def __init__(self, *, attempts: int, backoff: float) -> None:
        self._attempts = attempts
        self._backoff = backoff
        self._uidvalidity = 0
        self._tries: dict[int, _Try] = {}
        self._owed: dict[int, Mark] = {}
        self._left: set[int] = set()

    def open(self, uidvalidity: int) -> None:
        """A new connection. Where the UIDs name other messages now (RFC 3501, 2.3.1.1), all is forgotten.

        What was left for want of a route may have one by now.
        """
        self._left.clear()
        if uidvalidity != self._uidvalidity:
            self._uidvalidity = uidvalidity
            self._tries.clear()
            self._owed.clear()

    def due(self, uids: Iterable[int], now: float) -> list[int]:
        """Of all messages in the folder, those to handle now. What is no longer there is forgotten."""
        there = set(uids)
        self._tries = {uid: trial for uid, trial in self._tries.items() if uid in there}
        self._owed = {uid: mark for uid, mark in self._owed.items() if uid in there}
        self._left &= there
        return sorted(uid for uid in there - self._left - self._owed.keys() if self._due(uid) <= now)

    def _due(self, uid: int) -> float:
        trial = self._tries.get(uid)
        return trial.due if trial else 0.0

    def next_due(self) -> float | None:
        """When the next message that failed is to be tried again."""
        return min((trial.due for uid, trial in self._tries.items() if uid not in self._owed), default=None)

    def begin(self, uid: int) -> int:
        """An attempt begins; which one, from 1."""
        trial = self._tries.setdefault(uid, _Try())
        trial.count += 1
        return trial.count

    def defer(self, uid: int, now: float, retry_after: float | None) -> float | None:
        """The attempt failed: seconds until the next, None after the last. One that the handler wished for, with a
        time, is no failure: it is always tried again."""
        trial = self._tries[uid]
        if retry_after is None and trial.count >= self._attempts:
            return None
        if retry_after is None:
            wait = min(self._backoff * 2.0 ** (trial.count - 1), LONGEST_BACKOFF)
        else:
            wait = min(max(retry_after, SHORTEST_WISH), LONGEST_WISH)
        trial.due = now + wait
        return wait

    def decide(self, uid: int, mark: Mark) -> None:
        """The verdict is known, and the handler does not run again in this process, even if marking must wait."""
        if mark.verb == "leave":
            self._left.add(uid)
            self._tries.pop(uid, None)
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
            self._tries.pop(uid, None)
