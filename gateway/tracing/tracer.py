"""Makes the spans of handlers, of stored messages and of what leaves."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind

from gateway.spans import TRACE, Carrier, Ids, Told
from gateway.tracing import answers, contexts, names
from gateway.tracing.maker import Entered, Maker, end
from gateway.tracing.sampling import is_decided
from gateway.tracing.traced import Traced
from protocols.app_run import AppRun
from protocols.events import Event


class Tracer:
    """A :class:`gateway.spans.Tracer`. A message is traced if it carries a trace, which its run has written into it."""

    def __init__(self, maker: Maker, kinds: Mapping[str, Traced]) -> None:
        self._maker = maker
        self._kinds = kinds
        self._sent = {f"{name}.send": kind for name, kind in kinds.items() if not kind.is_request}

    def ids(self) -> Ids | None:
        where = trace.get_current_span().get_span_context()
        return Ids(f"{where.trace_id:032x}", f"{where.span_id:016x}") if where.is_valid else None

    # Handlers.

    def handler(self, consumer: Any, handler: Any, event: Any) -> AbstractContextManager[None] | None:
        if not isinstance(event, dict):
            return self._batch(consumer, handler, event)
        carrier = event.get(TRACE) or (consumer.scope.get("extensions") or {}).get(TRACE)
        if not carrier:
            return None
        called = _called(consumer, handler, event["type"])
        return Entered(self._maker.begin(called, SpanKind.INTERNAL, {names.HANDLER: called}, where=_within(carrier)))

    def _batch(self, consumer: Any, handler: Any, messages: Sequence[Any]) -> AbstractContextManager[None] | None:
        """A span has one parent: a batch belongs to the first message of it that is traced, and has links to others."""
        carriers = [message.trace for message in messages if message.trace]
        if not carriers:
            return None
        called = _called(consumer, handler, "")
        first, *others = sorted(map(contexts.extracted, carriers), key=_is_left_out)
        attributes = {names.HANDLER: called, names.BATCH_COUNT: len(messages)}
        return Entered(
            self._maker.begin(
                called,
                SpanKind.INTERNAL,
                attributes,
                where=contexts.below(first),
                links=contexts.links_to(*others),
            )
        )

    def takes(self, event: Event) -> None:
        if carrier := event.get(TRACE):
            trace_ = contexts.extracted(carrier)
            contexts.leave(contexts.below(trace_))
        elif trace.get_current_span().get_span_context().is_valid:  # of the message before
            contexts.leave(contexts.NOWHERE)

    # What leaves.

    def sends(self, event: Event, *, stored: bool = True) -> Event:
        """What a handler sends gets a span that ends at once. When it leaves, which may be in an hour, that gets one
        for each attempt."""
        kind = self._sent.get(event["type"])
        if kind is None or not (stored or kind.carries):
            return event
        current = trace.get_current_span()
        if not current.get_span_context().trace_flags.sampled and contexts.left_out_at() is None:
            return event
        where = contexts.holding(current)
        attributes = {names.SCOPE: kind.name, names.OPERATION_NAME: names.CREATE, names.OPERATION_TYPE: names.CREATE}
        span = self._maker.begin(f"{names.CREATE} {kind.name}", SpanKind.PRODUCER, attributes, where=where)
        carrier = contexts.carrier_of(span)
        span.end()
        with_trace = kind.with_trace(event, carrier)
        return {**with_trace, TRACE: carrier} if stored else with_trace

    def sends_in_run(self, run: AppRun, event: Any) -> Any:
        """An application sends ``event``, in a run over what arrives or over what is stored."""
        if event["type"] not in self._sent:
            return event
        scope: Any = run.scope
        return self.sends(event, stored="delivery" in (scope.get("extensions") or ()))

    def leaves(self, item: Any, event: Event) -> AbstractAsyncContextManager[None]:
        return self._leaves(item, event)

    @asynccontextmanager
    async def _leaves(self, item: Any, event: Event) -> AsyncIterator[None]:
        is_decided.set(True)
        if (parent := contexts.extracted(carrier := event.get(TRACE) or {})) is None:
            yield
            return
        kind = self._kinds.get(item.kind) or Traced(item.kind)
        attributes = {
            names.SCOPE: kind.name,
            names.OPERATION_NAME: names.SEND,
            names.OPERATION_TYPE: names.SEND,
            names.LANE: item.lane,
            names.EVENT_ID: item.message,
            names.ATTEMPT: item.attempts,
        }
        where = contexts.below(parent)
        with Entered(self._maker.begin(f"{names.SEND} {kind.name}", SpanKind.CLIENT, attributes, where=where)):
            if id_ := kind.id_of(event):
                await answers.remember(kind.name, id_, carrier, kind.recipients(event))
            yield

    # Messages from the store.

    def stored(
        self, message: Any, scope: dict[str, Any], events: Sequence[dict[str, Any]]
    ) -> AbstractContextManager[Told]:
        return self._stored(message, scope, events)

    @contextmanager
    def _stored(self, message: Any, scope: dict[str, Any], events: Sequence[dict[str, Any]]) -> Iterator[Told]:
        is_decided.set(True)
        place = events[0] if TRACE in events[0] else scope["extensions"]
        told: dict[str, Any] = {}

        def tell(verdict: str, error: BaseException | None) -> None:
            told.update(verdict=verdict, error=error)

        if (parent := contexts.extracted(place.get(TRACE) or {})) is None:
            yield tell
            return
        span = self._begin_stored(message, scope, events[0], parent)
        place[TRACE] = contexts.carrier_of(span)
        before = contexts.enter(span)
        try:
            yield tell
        finally:
            contexts.leave(before)
            verdict, error = told.get("verdict", ""), told.get("error")
            end(span, {names.VERDICT: verdict}, failed=verdict in ("", "dead"), error=error)

    def _begin_stored(self, message: Any, scope: dict[str, Any], event: Any, parent: SpanContext) -> trace.Span:
        kind = self._kinds.get(message.type) or Traced(message.type)
        route = message.route.rpartition(" -> ")[0]
        attributes = {
            names.SCOPE: kind.name,
            names.SERVER: scope.get("listener"),
            names.ROUTE: route,
            names.EVENT_ID: message.id,
            names.ATTEMPT: message.attempts,
            **kind.attributes(names.PROCESS, route, scope, event),
        }
        name = kind.span_name(names.PROCESS, route, scope)
        return self._maker.begin(name, SpanKind.CONSUMER, attributes, where=contexts.below(parent))


def _within(carrier: Carrier) -> Context:
    """Return the context of a handler's span: the current one, if it is in its message's trace. Some applications take
    events in another task: there it is not."""
    current, message = trace.get_current_span(), contexts.extracted(carrier)
    if message is None or current.get_span_context().trace_id == message.trace_id:
        return contexts.holding(current)
    return contexts.below(message)


def _is_left_out(message: SpanContext | None) -> bool:
    return message is None or not message.trace_flags.sampled


def _called(consumer: Any, handler: Any, kind: str) -> str:
    """``Sensors.receive``, as its author calls it."""
    asked = consumer.instead.get(kind) or consumer.asks.get(kind)
    return f"{type(consumer).__name__}.{asked.method if asked is not None else handler.__name__}"
