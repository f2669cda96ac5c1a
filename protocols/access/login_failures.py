"""Recent wrong logins, counted for each client address and for each user name. Pure."""

from collections import OrderedDict

FORGET = 10.0
"""Seconds after which one failure of a name or an address is forgotten."""
FREE = 3
"""Failures without a delay: people mistype."""
STEP, LONGEST = 0.1, 5.0
"""Seconds that the answer to the next wrong login waits. They double with each failure, up to ``LONGEST``."""
_MOST = 10_000
"""Names and addresses that are remembered; the one with the oldest failure is forgotten first."""


class LoginFailures:
    """Counts failures by key. An attacker can choose keys, so their number is bounded."""

    def __init__(self) -> None:
        self._counts: OrderedDict[int, tuple[float, float]] = OrderedDict()
        """Number of failures and when they were counted, the oldest first."""

    def add(self, key: int, now: float) -> None:
        self._counts[key] = self.of(key, now) + 1, now
        self._counts.move_to_end(key)
        if len(self._counts) > _MOST:
            self._counts.popitem(last=False)

    def of(self, key: int, now: float) -> float:
        """The number of recent failures of ``key``."""
        count, since = self._counts.get(key, (0.0, now))
        return max(0.0, count - (now - since) / FORGET)


def penalty(failures: float) -> float:
    """Seconds that the answer to a wrong login waits after this many recent failures."""
    beyond = failures - FREE
    return 0.0 if beyond <= 0 else min(STEP * 2.0 ** min(beyond, 30.0), LONGEST)
