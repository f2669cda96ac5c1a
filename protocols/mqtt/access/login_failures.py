"""Recent wrong logins, counted for each client address and for each user name. Pure."""

from collections import OrderedDict

FORGET = 10.0
"""Seconds after which one failure of a name or an address is forgotten."""
FREE = 3
"""Failures that cost nothing: people mistype."""
STEP, LONGEST = 0.1, 5.0
"""Seconds that the answer to the next wrong login waits; it doubles with each failure up to the longest."""
_MOST = 10_000
"""Names and addresses that are remembered; the one that failed the longest ago goes first."""


class LoginFailures:
    """Keys are what an attacker can choose, so their number is bounded."""

    def __init__(self) -> None:
        self._counts: OrderedDict[int, tuple[float, float]] = OrderedDict()
        """Failures, and when they were counted, the oldest first."""

    def add(self, key: int, now: float) -> None:
        self._counts[key] = self.of(key, now) + 1, now
        self._counts.move_to_end(key)
        if len(self._counts) > _MOST:
            self._counts.popitem(last=False)

    def of(self, key: int, now: float) -> float:
        """How many failures of ``key`` are recent."""
        count, since = self._counts.get(key, (0.0, now))
        return max(0.0, count - (now - since) / FORGET)


def penalty(failures: float) -> float:
    """Seconds that the answer to a wrong login waits after so many recent ones."""
    beyond = failures - FREE
    return 0.0 if beyond <= 0 else min(STEP * 2.0 ** min(beyond, 30.0), LONGEST)
