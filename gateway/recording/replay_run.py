"""The run of an application over what was recorded. Its peer is long gone: answers go nowhere."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from protocols.app_run import AppRun, observed
from protocols.asgi import Application
from protocols.checkpoint import checkpoint
from protocols.events import Event, type_of

Ends = Callable[[Event], bool]
"""Whether an answer ends the conversation."""


class ReplayRun(AppRun):
    """Feeds ``events`` and, when the conversation ends, the disconnect of the scope type.

    A subclass has the table and the checks of the protocol's server. ``ends``: the answer after which the peer leaves.
    Without it the disconnect comes at once after the events.
    """

    def __init_subclass__(cls) -> None:
        for kind in {kind for steps in cls.sends.values() for kind in steps}:
            setattr(cls, kind.replace(".", "_"), cls.take)
        super().__init_subclass__()

    def __init__(
        self,
        app: Application,
        scope: Any,
        events: Iterable[Any],
        *,
        ends: Ends | None = None,
        disconnect: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(app, scope)
        self.sent: list[Event] = []
        self._ends = ends
        self._last: Any = disconnect or {"type": f"{scope['type']}.disconnect"}
        self._is_over = False
        for event in events:
            self._feed(event)
        if ends is None:
            self._leave()

    def take(self, event: Event) -> None:
        self.sent.append(event)
        if self._ends is not None and self._ends(event):
            self._leave()

    def _feed(self, event: Any) -> None:
        self._is_over = self._is_over or event["type"] == self._last["type"]
        self.feed(event)

    def _leave(self) -> None:
        if not self._is_over:
            self._feed(self._last)


class UncheckedReplay(ReplayRun):
    """A run over a scope of a type that has told no table: every event may be sent."""

    async def send(self, event: Event) -> None:
        await checkpoint()
        type_of(event)
        self.take(event)
        if observed.by is not None:
            observed.by.sent(self, event)
