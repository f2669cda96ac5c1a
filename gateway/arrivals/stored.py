"""Makes arrivals of attempts at stored messages, and of what leaves by the outbox."""

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from gateway.arrivals.arrival import Arrival
from gateway.arrivals.watch import Watch, in_words, where
from gateway.scope_kinds import scope_kinds
from gateway.store import Message, Outgoing

current_watch: ContextVar[Watch | None] = ContextVar("current_watch", default=None)
"""The watch of the run in this context, for an attempt below it."""


class StoredArrivals:
    """A :class:`gateway.delivery.observer.DeliveryObserver`."""

    def __init__(self, tell: Callable[[Arrival], None], *, with_content: bool) -> None:
        self._tell = tell
        self._with_content = with_content

    def failed(self, error: BaseException) -> None:
        if (watch := current_watch.get()) is not None:
            watch.error = error

    def delivered(
        self,
        message: Message,
        scope: Any,
        events: Sequence[Any],
        verdict: str,
        error: BaseException | None,
        began: float,
    ) -> None:
        watch: type[Watch] = scope_kinds()[message.type].watch
        seconds = time.monotonic() - began
        route, _, target = message.route.rpartition(" -> ")
        self._tell(
            Arrival(
                time=time.time() - seconds,
                type=message.type,
                event=events[0]["type"],
                server=scope.get("listener", ""),  # requests of 0.1.0 do not name their server
                id=message.id,
                who=watch.who(scope),
                what=watch.what(scope, events[0]),
                route=route,
                target=target,
                verdict=verdict,
                seconds=seconds,
                error=in_words(error),
                size=watch.size(scope, events[0]),
                address=watch.address(scope),
                attempt=message.attempts,
                traceback=where(error) if self._with_content else "",
                scope=scope,
                events=events,
            )
        )

    def left(self, item: Outgoing, verdict: str, error: BaseException | None, began: float) -> None:
        seconds = time.monotonic() - began
        self._tell(
            Arrival(
                time=time.time() - seconds,
                type=item.kind,
                event=f"{item.kind}.send",
                server="",
                id=item.id,
                who="outbox",
                what=item.recipient,
                route="",
                target=item.lane,
                verdict=verdict,
                seconds=seconds,
                error=in_words(error),
                attempt=item.attempts,
            )
        )
