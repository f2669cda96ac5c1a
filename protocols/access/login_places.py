"""Places for the logins that wait at a time: those that are being checked, and wrong ones whose answer is delayed."""

import contextlib
from collections import Counter
from collections.abc import Iterator

EACH = 4
"""One address has one place in so many."""


class LoginPlaces:
    """``most`` places; None: as many as there are connections."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        """Places, by address."""

    @contextlib.contextmanager
    def place(self, address: str) -> Iterator[bool]:
        """Hold a place for a login from ``address``. The value is False if there is none."""
        if self._most is None or not self._has_room(address, self._most):
            yield self._most is None
            return
        self._taken[address] += 1
        try:
            yield True
        finally:
            self._taken -= Counter((address,))  # forgets those without any

    def _has_room(self, address: str, most: int) -> bool:
        return self._taken.total() < most and self._taken[address] < max(1, most // EACH)
