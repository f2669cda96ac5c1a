"""W3C Trace Context to OpenTelemetry's contexts, and back."""

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext

from gateway.spans import Carrier
from gateway.tracing import trace_fields

NOWHERE = Context()
"""The context of a span that has no parent."""
_LEFT_OUT = context.create_key("gateway-left-out")
"""The key of the sender's span, in the context of a message whose sender decided that it is not traced."""


def carrier_of(span: Span) -> dict[str, str]:
    """Return what makes others continue the trace of ``span``."""
    where = span.get_span_context()
    carrier = {"traceparent": f"00-{where.trace_id:032x}-{where.span_id:016x}-{where.trace_flags & _KNOWN_FLAGS:02x}"}
    if where.trace_state:
        carrier["tracestate"] = where.trace_state.to_header()
    return carrier


_KNOWN_FLAGS = 0x03
"""Sampled, and that the trace id is random. W3C: the others are not passed on."""


def extracted(carrier: Carrier) -> SpanContext | None:
    """Return the span that ``carrier`` names. None: it is not valid."""
    return trace_fields.parsed(carrier["traceparent"], carrier.get("tracestate", "")) if carrier else None


def below(parent: SpanContext | None) -> Context:
    """Return the context of a span whose parent is ``parent``."""
    return NOWHERE if parent is None else holding(NonRecordingSpan(parent))


def holding(span: Span, base: Context = NOWHERE) -> Context:
    """Return ``base`` with ``span`` as the current one."""
    where = trace.set_span_in_context(span, base)
    left_out = None if span.get_span_context().trace_flags.sampled else span
    return where if left_out is left_out_at(where) else context.set_value(_LEFT_OUT, left_out, where)


def left_out_at(where: Context | None = None) -> Span | None:
    """Return the sender's span, if the sender of the message of ``where`` (by default, of the current context) decided
    that it is not traced. The current span does not tell: in a message that is not in our sample, other code begins
    spans that are not recorded, too."""
    span = context.get_value(_LEFT_OUT, where)
    return span if isinstance(span, Span) else None


def links_to(*others: SpanContext | None) -> list[Link]:
    return [Link(other) for other in others if other is not None]


def enter(span: Span) -> Context:
    """Make ``span`` the current one. Return the context before, for :func:`leave`."""
    before = context.get_current()
    context.attach(holding(span, before))
    return before


def leave(before: Context) -> None:
    """Go back to a context. A token would not do: spans end in other tasks, too, and in the order of answers."""
    context.attach(before)
