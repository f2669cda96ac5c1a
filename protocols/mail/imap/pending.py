"""The work that is pending in one folder: messages to try again, and when, and marks to make. Pure: no clock.

It is kept in memory only; :mod:`.ledger` keeps which messages are handled. No message is given up here: the mailbox is
the queue, and an application that has tried often enough accepts the message.
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


def _longer(step: float) -> float:
    """Return the seconds of the wait after one of ``step`` seconds."""
    return min(max(FIRST_WAIT, 2 * step), LONGEST_WAIT)


class PendingMessages:
    """The pending messages of a folder, by UID."""

    def __init__(self) -> None:
        self._uidvalidity = 0
        self._again: dict[int, _Again] = {}
        self._owed: dict[int, Mark] = {}
        self._refused: dict[Mark, _Again] = {}
        self._left: set[int] = set()
        self._suspects: set[int] = set()

    @property
    def deferred(self) -> int:
        """Messages that wait to be tried again."""
        return len(self._again)

    def open(self, uidvalidity: int) -> None:
        """Begin to read the folder. If the UIDs name other messages now (RFC 3501, 2.3.1.1), forget when they are due.

        Whether what is handled is still the same message, the ledger has to say.
        """
        self._owed.clear()
        if uidvalidity != self._uidvalidity:
            self._uidvalidity = uidvalidity
            self._left.clear()
            self._again.clear()
            self._suspects.clear()

    def connected(self) -> None:
        """Begin a new connection: messages that were left because they had no route are tried again."""
        self._left.clear()

    def fresh(self, uids: Iterable[int]) -> list[int]:
        """Return those of all messages in the folder that nothing is known of, and forget those that are gone."""
        there = uids if isinstance(uids, set) else set(uids)
        self._again = {uid: again for uid, again in self._again.items() if uid in there}
        self._owed = {uid: mark for uid, mark in self._owed.items() if uid in there}
        self._left &= there
        self._suspects &= there
        return self.unknown(there)

    def unknown(self, uids: Iterable[int]) -> list[int]:
        """Return those of ``uids`` that nothing is known of, in order."""
        known = self._left | self._owed.keys() | self._again.keys()
        return sorted(uid for uid in uids if uid not in known)

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

    def due_again(self, now: float) -> list[int]:
        """Return the deferred messages that are to be tried again now."""
        return sorted(uid for uid, again in self._again.items() if again.due <= now)

    def next_due(self) -> float | None:
        """The time at which the next message, or the next mark, is to be tried again."""
        refused = [self._refused[mark] for mark in set(self._owed.values()) if mark in self._refused]
        return min((again.due for again in (*self._again.values(), *refused)), default=None)

    def defer(self, uid: int, now: float, asked: float | None) -> float:
        """Defer a message; return the seconds until the next attempt: ``asked``, if the application named a time."""
        step = self._again[uid].step if uid in self._again else 0.0
        if asked is None:
            wait = step = _longer(step)
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

    def owed(self, now: float) -> dict[Mark, list[int]]:
        """Return the marks that are to be made now, with the messages of each."""
        marks: dict[Mark, list[int]] = {}
        for uid, mark in self._owed.items():
            if mark not in self._refused or self._refused[mark].due <= now:
                marks.setdefault(mark, []).append(uid)
        return marks

    def marked(self, uids: Iterable[int]) -> None:
        for uid in uids:
            self._owed.pop(uid, None)

    def refused(self, mark: Mark, now: float) -> tuple[float, bool]:
        """Note that the server refuses ``mark``. Return the seconds until it is tried again, and whether it has been
        refused before."""
        before = self._refused.get(mark)
        wait = _longer(before.step if before else 0.0)
        self._refused[mark] = _Again(now + wait, wait)
        return wait, before is not None

    def taken(self, mark: Mark) -> bool:
        """Note that the server takes ``mark``; return whether it has refused it before."""
        return self._refused.pop(mark, None) is not None
