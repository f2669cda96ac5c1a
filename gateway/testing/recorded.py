"""One run of an application whose peer is a test: what it sends is kept in order, until the test asks for it."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from protocols.app_run import AppRun, Meter
from protocols.asgi import Application, ReceiveEvent, Scope
from protocols.errors import Disconnected
from protocols.events import Event, type_of
from protocols.wakeup import Wakeup


class RecordedRun(AppRun):
    """The run of a server, which checks what the application sends. A subclass has the server's table and checks, and
    for each event :meth:`record`, or :meth:`leave` where the event goes to others than the peer, too."""

    def __init__(self, app: Application, scope: Scope, left: Callable[[Event], None]) -> None:
        """``left`` gets each event that goes to others."""
        super().__init__(app, scope)
        self.sent: deque[Any] = deque()
        self._left = left
        self.changed = Wakeup()

    def record(self, event: Event) -> None:
        self.sent.append(event)
        self.changed.wake()

    def leave(self, event: Event) -> None:
        self._left(event)
        self.record(event)

    def over(self, last: ReceiveEvent) -> None:
        """Allow no further event, since the application has ended the scope, and tell it that its peer is gone."""
        self._goto("over")
        self.feed(last)

    def disconnect(self, event: ReceiveEvent) -> None:
        if self.state != "over":  # else the application has had its last event
            super().disconnect(event)

    def _finish(self, meter: Meter | None, began: float) -> None:
        super()._finish(meter, began)
        self.changed.wake()


class UncheckedRun(RecordedRun):
    """A run over a scope of a type that this package does not know: every event is taken."""

    async def send(self, event: Event | Mapping[str, Any]) -> None:
        type_of(event)
        if self.gone:
            raise Disconnected("the peer is gone")
        self.record(event)
