"""Tells of a method that has returned and left its peer waiting: ``accept``, an acknowledgement, a response is missing.

It costs a timer only where something is missing when the method returns. What is answered later, by a task say, is
never told of if that takes less than `PATIENCE`.
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


class Unanswered:
    """The events of one consumer that wait for an answer. ``tell`` gets the type of the first that has waited too long;
    it is called once."""

    __slots__ = ("_due", "_loop", "_tell", "_timer", "_waiting")

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int | None, str] = {}
        """The event's type, by its ``id``; None is the scope itself."""
        self._due: dict[int | None, float] = {}
        """When those are told of whose methods have returned."""
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, event: Any) -> None:
        """``event`` asks for an answer; its method is called next."""
        key, kind = event.get("id"), event["type"]
        if not event.get("more_body") and (key is not None or kind not in _BY_ID):
            self._waiting[key] = kind

    def answered(self, event: Any) -> None:
        """``event``, one of `ANSWERS`, has been sent."""
        self._waiting.pop(event.get("id"), None)

    def after(self, event: Any) -> "Unanswered | None":
        """The method for ``event`` has returned. Return None if no event waits for an answer."""
        if not self._waiting:
            self.stop()
            return None
        if (key := event.get("id")) in self._waiting:
            self._due[key] = self._loop.time() + PATIENCE
            if self._timer is None:
                self._timer = self._loop.call_later(PATIENCE, self._look)
        return self

    def _look(self) -> None:
        self._timer = None
        self._due = {key: due for key, due in self._due.items() if key in self._waiting}
        for key, due in self._due.items():  # the first is the oldest
            if due <= self._loop.time():
                self._tell(self._waiting[key])
            else:
                self._timer = self._loop.call_at(due, self._look)
            return

    def stop(self) -> None:
        """Tell of nothing more."""
        if self._timer is not None:
            self._timer.cancel()
