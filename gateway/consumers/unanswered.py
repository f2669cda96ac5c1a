"""Tells of a method that has returned and left its peer waiting: ``accept``, an acknowledgement, a response is missing.

A timer starts only if the answer is missing when the method returns. An answer that comes within `PATIENCE` after that,
from a task for instance, causes no warning.
"""

import asyncio
from collections.abc import Callable
from typing import Any

PATIENCE = 2.0
"""Seconds that a peer may wait after the method has returned."""
ANSWERS = frozenset(
    {
        "http.response.start",
        *("websocket.accept", "websocket.close", "websocket.http.response.start"),
        *("mqtt.accept", "mqtt.reject", "mqtt.auth", "mqtt.ack", "mqtt.defer", "mqtt.suback", "mqtt.disconnect"),
    }
)
"""Events after which a peer does not wait any more: for the event with the same ``id``, or for a scope's first."""
_BY_ID = frozenset({"mqtt.receive", "mqtt.subscribe"})
"""Events that are answered by their ``id``. Those without one, at QoS 0, are not answered."""


def asks_for_answer(event: Any) -> bool:
    """Whether ``event`` wants an answer now: not at QoS 0, and not before the last piece of a request's body."""
    return not event.get("more_body") and (event.get("id") is not None or event["type"] not in _BY_ID)


class Unanswered:
    """The events of one consumer that wait for an answer, although their methods have returned. ``tell`` gets the type
    of the first that has waited too long; it is called once."""

    __slots__ = ("_left", "_loop", "_tell", "_timer")

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._left: dict[int | None, tuple[str, float]] = {}
        """The event's type, and when it is told of, by its ``id``; None is the scope itself."""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, event: Any) -> None:
        """The method for ``event`` has returned without an answer."""
        due = self._loop.time() + PATIENCE
        self._left[event.get("id")] = event["type"], due
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)

    def answered(self, event: Any) -> None:
        """``event``, one of `ANSWERS`, has been sent."""
        self._left.pop(event.get("id"), None)

    def _look(self) -> None:
        self._timer = None
        for kind, due in self._left.values():  # the first is the oldest
            if due <= self._loop.time():
                self._tell(kind)
            else:
                self._timer = self._loop.call_at(due, self._look)
            return

    def stop(self) -> None:
        """Tell of nothing more."""
        if self._timer is not None:
            self._timer.cancel()
