"""W3C Trace Context to OpenTelemetry's contexts, and back."""

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.spans import Carrier

NOWHERE = Context()
"""The context of a span that has no parent."""
_PROPAGATOR = TraceContextTextMapPropagator()


def carrier_of(span: Span) -> dict[str, str]:
    """Return what makes others continue the trace of ``span``."""
    where = span.get_span_context()
    carrier = {"traceparent": f"00-{where.trace_id:032x}-{where.span_id:016x}-{where.trace_flags:02x}"}
    if where.trace_state:
        carrier["tracestate"] = where.trace_state.to_header()
    return carrier


def extracted(carrier: Carrier) -> SpanContext | None:
    """Return whose trace that is. None: it is not valid."""
    if "traceparent" not in carrier:
        return None
    found = trace.get_current_span(_PROPAGATOR.extract(carrier, NOWHERE)).get_span_context()
    return found if found.is_valid else None


def below(parent: SpanContext | None) -> Context:
    """Return the context of a span whose parent is ``parent``."""
    return NOWHERE if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent), NOWHERE)


def links_to(*others: SpanContext | None) -> list[Link]:
    return [Link(other) for other in others if other is not None]


def enter(span: Span) -> Context:
    """Make ``span`` the current one. Return the context before, for :func:`leave`."""
    before = context.get_current()
    context.attach(trace.set_span_in_context(span, before))
    return before


def leave(before: Context) -> None:
    """Go back to a context. A token would not do: spans end in other tasks, too, and in the order of answers."""
    context.attach(before)
