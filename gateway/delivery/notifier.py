"""Tells the worker and the outbox, in this process, that there is something in the store for them."""

from collections.abc import Callable


class Notifier:
    """Calls all that listen."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[], None]] = set()

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.add(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        self._listeners.discard(listener)

    def notify(self) -> None:
        for listener in self._listeners:
            listener()
