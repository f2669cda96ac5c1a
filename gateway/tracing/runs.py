"""Makes the spans of what runs of applications receive."""

import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from time import time_ns
from typing import Any, NamedTuple

from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span, SpanContext, SpanKind, get_current_span

from gateway.arrivals import arrivals
from gateway.delivery.current_event import current_event
from gateway.delivery.current_route import current_route
from gateway.spans import TRACE
from gateway.tracing import answers, contexts, names
from gateway.tracing.maker import Maker, end
from gateway.tracing.origin import Origin, Origins, carried, of_answer
from gateway.tracing.sampling import is_decided
from gateway.tracing.traced import Traced
from protocols.app_run import AppRun
from protocols.asgi import describe

logger = logging.getLogger(__name__)

_READ = "read"
"""The key of an event with the time when it was read, in nanoseconds since 1970, until the application takes it."""


@dataclass(slots=True)
class _Open:
    """What is open of one run."""

    kind: Traced
    before: Context
    """The application's context outside the spans."""
    span: Span | None = None
    """The scope's."""
    scope_span: SpanContext | None = None
    """The same, also when it has ended."""
    verdict: str = ""
    taken: "_Message | None" = None
    """A message that gets no answer: its span ends when the application takes the next."""
    waiting: dict[Any, "_Message"] = field(default_factory=dict)
    """Messages that get an answer, by what it names."""


class _Message(NamedTuple):
    span: Span
    event: Any

    def end(self, attributes: Mapping[str, Any], *, failed: bool = False, error: Any = None) -> None:
        """It may have got its event id since it arrived: from the inbox."""
        end(self.span, {**attributes, names.EVENT_ID: self.event.get("event")}, failed=failed, error=error)


class Runs:
    """Watches the runs of a process; a :class:`protocols.app_run.Observer`."""

    def __init__(self, maker: Maker, origins: Origins, kinds: Mapping[str, Traced]) -> None:
        self._open: dict[AppRun, _Open] = {}
        self.use(maker, origins, kinds)

    def use(self, maker: Maker, origins: Origins, kinds: Mapping[str, Traced]) -> None:
        """Trace by these from now on; the spans that are open end as they would have."""
        self._maker, self._origins, self._kinds = maker, origins, kinds
        self._messages = {event: kind for kind in kinds.values() for event in kind.messages}

    # What AppRun calls. A mistake of ours, or of a package that brings a scope type, ends the trace and not the run.

    def began(self, run: AppRun) -> Coroutine[Any, Any, None] | None:
        scope: Any = run.scope
        kind = self._kinds.get(scope["type"])
        if kind is None or "delivery" in (scope.get("extensions") or ()):
            return None  # a lifespan, or an attempt at a message, which has its span
        is_decided.set(True)
        if kind.is_connection:
            return None
        try:
            if ids := kind.answers(scope):
                return self._begin_answer(run, kind, ids)
            if (origin := self._origins.of(kind, run, None)) is not None:
                self._begin(run, kind, origin)
        except Exception:
            self._fail(run)
        return None

    def waits(self, run: AppRun) -> None:
        if run in self._open:
            self._settle(run, self._open[run])

    def fed(self, run: AppRun, event: Any) -> None:
        """A message begins when it is read, and may wait for the application."""
        if event["type"] in self._messages:
            event[_READ] = time_ns()

    def received(self, run: AppRun, event: Any) -> None:
        read, opened = event.pop(_READ, None), self._open.get(run)
        if opened is not None:
            self._settle(run, opened)
        if (kind := self._messages.get(event["type"])) is not None:
            try:
                if (origin := self._origins.of(kind, run, event)) is not None:
                    self._take(run, kind, event, origin, read)
            except Exception:
                self._fail(run)
        elif opened is not None and opened.span is not None and opened.kind.messages:
            event[TRACE] = contexts.carrier_of(opened.span)  # of the handshake

    def sent(self, run: AppRun, event: Any) -> None:
        if (opened := self._open.get(run)) is not None:
            try:
                self._answer(run, opened, event)
            except Exception:
                self._fail(run)

    def ended(self, run: AppRun) -> None:
        if (opened := self._open.get(run)) is not None:
            try:
                self._end(run, opened)
            except Exception:
                self._fail(run)
            self._open.pop(run, None)

    def _fail(self, run: AppRun) -> None:
        self._open.pop(run, None)
        logger.exception("%s: it cannot be traced", describe(run.scope))

    def _answer(self, run: AppRun, opened: _Open, event: Any) -> None:
        kind, verdict = opened.kind, opened.kind.verdict(event)
        if verdict and (message := opened.waiting.pop(event.get("id"), None)) is not None:
            attributes, failed = kind.outcome(verdict)
            message.end(attributes, failed=failed)
        elif verdict:
            opened.verdict = verdict
        if kind.is_over(event):
            in_handler = opened.span is not get_current_span()
            self._end_scope(run, opened)
            if not in_handler:
                contexts.leave(opened.before)

    def _end(self, run: AppRun, opened: _Open) -> None:
        if opened.taken is not None:
            opened.taken.end({}, error=run.error)
        for message in opened.waiting.values():
            message.end({names.VERDICT: "not acknowledged"}, failed=True, error=run.error)
        self._end_scope(run, opened)
        contexts.leave(opened.before)

    # A scope.

    async def _begin_answer(self, run: AppRun, kind: Traced, ids: Any) -> None:
        origin = None
        if (known := await answers.recall(kind.name, ids)) is not None:
            answered, recipients = known
            origin = of_answer(answered, from_recipient=kind.answered_by(run.scope) in recipients)
        if (origin := origin or self._origins.of(kind, run, None)) is not None:
            self._begin(run, kind, origin)

    def _begin(self, run: AppRun, kind: Traced, origin: Origin) -> None:
        scope: Any = run.scope
        current_route.set("")  # one task may run one message after the other
        attributes = self._common(run, kind) | kind.attributes(names.PROCESS, "", scope, None)
        name = kind.span_name(names.PROCESS, "", scope)
        span_kind = SpanKind.SERVER if kind.is_request else SpanKind.CONSUMER
        span = self._maker.begin(name, span_kind, attributes, where=origin.where, links=origin.links)
        if not kind.messages:  # each of them has its own
            scope["extensions"][TRACE] = contexts.carrier_of(span)
        before = contexts.enter(span)
        self._open[run] = _Open(kind, before, span, span.get_span_context())

    def _end_scope(self, run: AppRun, opened: _Open) -> None:
        span, scope, kind = opened.span, run.scope, opened.kind
        if span is None:
            return
        opened.span = None
        label = carried(run) or current_route.get()
        route = label.rpartition(" -> ")[0]
        stored = bool(kind.messages) or arrivals.get().stores(kind.name, label)
        span.update_name(kind.span_name(names.RECEIVE if stored else names.PROCESS, route, scope))
        attributes, failed = kind.outcome(opened.verdict)
        known = {kind.route_attribute: route, names.EVENT_ID: _event_id(scope)}
        end(span, known | attributes, failed=failed, error=run.error)

    # A message of a connection.

    def _take(self, run: AppRun, kind: Traced, event: Any, origin: Origin, read: int | None) -> None:
        scope: Any = run.scope
        if "delivery" in (scope.get("extensions") or ()) or carried(run):
            return
        here, opened = arrivals.get(), self._open.get(run)
        label = kind.route_of(here, scope, event)
        route = label.rpartition(" -> ")[0]
        operation = names.RECEIVE if here.stores(kind.name, label) else names.PROCESS
        attributes = {**self._common(run, kind), names.ROUTE: route, **kind.attributes(operation, route, scope, event)}
        links = [*origin.links, *contexts.links_to(opened.scope_span if opened is not None else None)]
        name = kind.span_name(operation, route, scope)
        span = self._maker.begin(name, SpanKind.CONSUMER, attributes, where=origin.where, links=links, began=read)
        event[TRACE] = contexts.carrier_of(span)
        opened = opened or self._open.setdefault(run, _Open(kind, get_current()))
        if event.get("id") is None:
            opened.taken = _Message(span, event)
        else:
            opened.waiting[event["id"]] = _Message(span, event)
        contexts.enter(span)

    def _settle(self, run: AppRun, opened: _Open) -> None:
        """The application is done with the message before, or leaves it to others: it takes the next."""
        if opened.span is not None:
            return
        if opened.taken is not None:
            opened.taken.end({})
            opened.taken = None
        contexts.leave(opened.before)
        if not opened.waiting and opened.scope_span is None:
            del self._open[run]

    def _common(self, run: AppRun, kind: Traced) -> dict[str, Any]:
        return {names.SCOPE: kind.name, names.SERVER: run.server_name}


def _event_id(scope: Any) -> str:
    given: str = (scope.get("extensions") or {}).get("event", {}).get("id", "")
    return given or current_event.get()
