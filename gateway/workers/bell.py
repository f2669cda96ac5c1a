"""Tells another process that there is something for it, however often there is."""

from collections.abc import Callable

KINDS = ("messages", "outgoing")
"""What may be in the store for another worker. There is a bell for each."""


class Bell:
    """Rings. While it waits for the answer it does not ring again, but once afterwards if there was more meanwhile: the
    other process may be blocked, and its channel must not fill."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._is_ringing = False
        self._again = False

    def ring(self) -> None:
        if self._is_ringing:
            self._again = True
        else:
            self._is_ringing = True
            self._ring()

    def answered(self) -> None:
        self._is_ringing = False
        if self._again:
            self._again = False
            self.ring()
