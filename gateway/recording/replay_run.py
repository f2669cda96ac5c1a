"""The run of an application over what was recorded. Its peer is long gone: answers go nowhere."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from protocols.app_run import AppRun, observed
from protocols.asgi import Application
from protocols.checkpoint import checkpoint
from protocols.events import Checks, Event, Table, checked, illegal, type_of

Ends = Callable[[Event], bool]
"""Whether an answer ends the conversation."""


class ReplayRun(AppRun):
    """Feeds ``events`` and, when the conversation ends, the disconnect of the scope type.

    ``table`` and ``checks`` say what may be sent, as those of the protocol's server do; without a table everything may.
    ``ends``: the answer after which the peer leaves. Without it the disconnect comes at once after the events.
    """

    def __init__(
        self,
        app: Application,
        scope: Any,
        events: Iterable[Any],
        *,
        table: Table | None = None,
        checks: Checks | None = None,
        ends: Ends | None = None,
        disconnect: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(app, scope)
        self.sent: list[Event] = []
        self._table: Table = table or {}
        self._checks: Checks = checks or {}
        self._ends = ends
        self._last: Any = disconnect or {"type": f"{scope['type']}.disconnect"}
        self.state = next(iter(self._table), "")
        self._is_over = False
        for event in events:
            self._feed(event)
        if ends is None:
            self._leave()

    async def send(self, event: Any) -> None:
        """Raises LocalProtocolError, as on a connection."""
        await checkpoint()
        event = self._legal_event(event)
        self.sent.append(event)
        if observed.by is not None:
            observed.by.sent(self, event)
        if self._ends is not None and self._ends(event):
            self._leave()

    def _legal_event(self, event: Any) -> Any:
        kind, legal = type_of(event), self._table.get(self.state, {})
        if self._table and kind not in legal:
            raise illegal(kind, self.state, legal)
        clean = checked(self._checks, event) if kind in self._checks else event
        self.state = legal.get(kind, self.state)
        return clean

    def _feed(self, event: Any) -> None:
        self._is_over = self._is_over or event["type"] == self._last["type"]
        self.feed(event)

    def _leave(self) -> None:
        if not self._is_over:
            self._feed(self._last)
