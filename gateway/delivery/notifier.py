"""Tells the worker and the outbox, in this process, that there is something in the store for them; and other processes,
if they hear of nothing by themselves."""

from collections.abc import Callable


class Notifier:
    """Calls all that listen."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[], None]] = set()
        self._relays: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.add(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        self._listeners.discard(listener)

    def relay(self, relay: Callable[[], None]) -> None:
        """Call ``relay``, too, when this process has put something there."""
        self._relays.append(relay)

    def notify(self) -> None:
        """This process has put something there."""
        self.hear()
        for relay in self._relays:
            relay()

    def hear(self) -> None:
        """Another process has put something there, and tells all."""
        for listener in self._listeners:
            listener()
