"""Tells the worker and the outbox, in this process, that there is something in the store for them."""

import asyncio


class Notifier:
    """Whoever waits holds an ``asyncio.Event`` from :meth:`listen`; :meth:`notify` sets them all."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def listen(self) -> asyncio.Event:
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def forget(self, event: asyncio.Event) -> None:
        self._waiting.discard(event)

    def notify(self) -> None:
        for event in self._waiting:
            event.set()
