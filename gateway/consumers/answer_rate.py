"""Limits the automatic answers to one address, so that two programs do not answer each other for ever.

Most such programs mark their mail (RFC 3834), and marked mail is not answered; this is for those that do not.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

PERIOD = 3600.0
"""Seconds in which answers are counted."""
MOST = 5000
"""Addresses that are remembered; of more, those that were answered last."""


@dataclass(slots=True)
class _Recent:
    answers: dict[int, float] = field(default_factory=dict)
    """When each answer of the last hour was made, by the hash of its id."""
    told: bool = False


class AnswerRate:
    """Counts answers in the memory of this process. A message that is handled again counts once: its answer has the
    same id."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: OrderedDict[str, _Recent] = OrderedDict()
        self._lock = threading.Lock()

    def over(self, addresses: Iterable[str], answer: str, limit: int) -> tuple[str, bool]:
        """Return the first of ``addresses`` that has had ``limit`` answers within the hour, and whether this is the
        first time in a row; else count the answer for all, and return an empty str."""
        with self._lock:
            now = self._clock()
            each = {address.casefold(): self._of(address.casefold(), now) for address in addresses}
            for address, recent in each.items():
                if hash(answer) not in recent.answers and len(recent.answers) >= limit:
                    first, recent.told = not recent.told, True
                    return address, first
            for recent in each.values():
                recent.answers.setdefault(hash(answer), now)
                recent.told = False
            return "", False

    def _of(self, address: str, now: float) -> _Recent:
        recent = self._recent.setdefault(address, _Recent())
        self._recent.move_to_end(address)
        while recent.answers and now - next(iter(recent.answers.values())) >= PERIOD:  # the oldest is the first
            del recent.answers[next(iter(recent.answers))]
        while len(self._recent) > MOST:
            self._recent.popitem(last=False)
        return recent
