"""Gives each arrival of a gateway to all who listen."""

import logging
from collections.abc import Callable
from typing import Any

from gateway.arrivals.arrival import Arrival
from gateway.arrivals.stored import StoredArrivals, current_watch
from gateway.arrivals.watch import Watch
from gateway.delivery.current_route import current_route
from gateway.delivery.kind import delivery_kind
from gateway.delivery.service import Deliveries
from gateway.routing import Router
from gateway.scope_kinds import scope_kinds
from gateway.services import Service
from protocols.app_run import AppRun, observed
from protocols.asgi import Application

logger = logging.getLogger(__name__)

Callback = Callable[[Arrival], object]


class Audience:
    """The listeners to the arrivals of a daemon, through all its generations."""

    def __init__(self) -> None:
        self.listeners: list[tuple[Callback, bool]] = []
        """Each with whether it wants the content."""
        self.gateways: set[Arrivals] = set()
        """The gateways that they hear, from their beginning to their end."""

    def set(self, listeners: list[tuple[Callback, bool]]) -> None:
        self.listeners = listeners
        for each in self.gateways:
            each.follow(listeners)


class Arrivals:
    """The arrivals of one gateway. Use it on the gateway's event loop. A listener hears no more after
    :meth:`close`, so that no gateway that has ended is watched."""

    def __init__(
        self,
        app: Application | None = None,
        application: str = "",
        deliveries: Deliveries | None = None,
        audience: Audience | None = None,
    ) -> None:
        """``application``: the target of a file without routes, whose application takes everything. ``audience``: that
        of the gateway before, which hears this one as soon as it begins."""
        self._app = app
        self.application = "" if isinstance(app, Router) else application
        self._deliveries = deliveries
        self.audience = audience or Audience()
        self.keeps_content = False

    def begin(self) -> None:
        """Let the audience hear this gateway, too."""
        self.audience.gateways.add(self)
        self.follow(self.audience.listeners)

    def listen(self, callback: Callback, *, content: bool = False) -> Callable[[], None]:
        """Call ``callback`` with each arrival of this gateway and of those that come after it, once it has its outcome,
        until the last of them has ended. Call the result to hear no more before that.

        With ``content`` the arrival has its events, if they are not more than 1 MiB. It is called on the event loop,
        and what arrives waits for it: put the arrival into a queue. What it raises is logged.
        """
        listener = (callback, content)
        self.begin()
        self.audience.set([*self.audience.listeners, listener])
        return lambda: self.audience.set([each for each in self.audience.listeners if each is not listener])

    def listen_once(self, callback: Callback) -> None:
        """Let ``callback`` listen, unless it does."""
        if all(each is not callback for each, _ in self.audience.listeners):
            self.listen(callback)

    def forget(self, callback: Callback) -> None:
        """Let ``callback`` hear no more."""
        self.audience.set([each for each in self.audience.listeners if each[0] is not callback])

    def close(self) -> None:
        """Stop telling listeners, because the gateway has ended."""
        self.audience.gateways.discard(self)
        if not self.audience.gateways:
            self.audience.set([])
        self.follow([])

    def follow(self, listeners: list[tuple[Callback, bool]]) -> None:
        """Watch what ``listeners`` want to hear of."""
        self.keeps_content = any(content for _, content in listeners)
        if self._deliveries is not None:
            stored = StoredArrivals(self.tell, with_content=self.keeps_content)
            self._deliveries.observer = stored if listeners else None
        _runs.watch(self, wanted=bool(listeners))

    def tell(self, arrival: Arrival) -> None:
        for callback, _ in self.audience.listeners:
            try:
                callback(arrival)
            except Exception:
                logger.exception("a listener to arrivals failed")

    def route_of(self, scope: Any) -> str:
        """Return the label of the route that takes ``scope``; empty if none does."""
        found = self._app.explain(scope) if isinstance(self._app, Router) else None
        return found.label if found is not None else ""

    def stores(self, scope_type: str, label: str) -> bool:
        """Return whether the route of that label acknowledges a message once it is stored."""
        routes = self._deliveries.routes.routes if self._deliveries is not None else {}
        kept, kind = routes.get((scope_type, label)), delivery_kind(scope_type)
        return kept is not None and kind is not None and kind.stores(kept.policy)


arrivals: Service[Arrivals] = Service("arrivals", Arrivals())


class _Runs:
    """Watches the runs of those gateways of this process whose arrivals somebody listens to."""

    def __init__(self) -> None:
        self._watched: set[Arrivals] = set()
        self._watches: dict[AppRun, Watch | None] = {}

    def watch(self, here: Arrivals, *, wanted: bool) -> None:
        (self._watched.add if wanted else self._watched.discard)(here)
        if self._watched:
            observed.add(self)
        else:
            observed.remove(self)
            self._watches.clear()

    # What AppRun calls.

    def began(self, run: AppRun) -> None:
        if (watch := self._of(run)) is not None:
            current_route.set("")  # one task may run one message after the other
            current_watch.set(watch)
            self._tell(run, watch.started)

    def waits(self, run: AppRun) -> None:
        pass

    def received(self, run: AppRun, event: Any) -> None:
        if (watch := self._of(run)) is not None:
            self._tell(run, watch.received, event)

    def sent(self, run: AppRun, event: Any) -> None:
        if (watch := self._of(run)) is not None:
            self._tell(run, watch.sent, event)

    def ended(self, run: AppRun) -> None:
        if (watch := self._of(run)) is not None:
            self._tell(run, watch.ended)
        self._watches.pop(run, None)

    def _of(self, run: AppRun) -> Watch | None:
        """Return the watch of ``run``, which may have begun before somebody listened."""
        if run not in self._watches:
            self._watches[run] = self._new(run)
        return self._watches[run]

    def _new(self, run: AppRun) -> Watch | None:
        """Return a new watch, or None if no listener wants this run. Lifespans have none. Attempts at stored messages
        have none either: the deliveries report them."""
        scope: Any = run.scope
        kind, here = scope_kinds().get(scope["type"]), arrivals.get()
        if kind is None or here not in self._watched or "delivery" in (scope.get("extensions") or ()):
            return None
        watch: Watch = kind.watch(here, run)
        return watch

    def _tell(self, run: AppRun, method: Callable[..., None], *event: Any) -> None:
        try:
            method(*event)
        except Exception:  # a mistake of ours, or of a package that brings a scope type: the run goes on
            logger.exception("an arrival cannot be described")
            self._watches[run] = None


_runs = _Runs()
