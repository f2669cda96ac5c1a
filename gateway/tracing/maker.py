"""Begins and ends spans."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, Status, StatusCode, Tracer

from gateway.consumers.base import StopConsumer
from gateway.tracing import contexts, names
from gateway.tracing.traced import Attributes


class Maker:
    """Makes the spans of one gateway."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        where: Context,
        links: Sequence[Link] = (),
        began: int | None = None,
    ) -> Span:
        """Begin a span below the current one of ``where``. The sender of a message may have decided that it is not
        traced: the sender's own span is passed on then. ``began``: nanoseconds since 1970, if not now."""
        if (left_out := contexts.left_out_at(where)) is not None:
            return NonRecordingSpan(left_out.get_span_context())
        known = {key: value for key, value in attributes.items() if value not in ("", None)}
        return self._tracer.start_span(name, context=where, kind=kind, attributes=known, links=links, start_time=began)


class Entered(AbstractContextManager[None]):
    """A span that is the current one in a block, and ends with it."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._before: Context

    def __enter__(self) -> None:
        self._before = contexts.enter(self._span)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        contexts.leave(self._before)
        end(self._span, error=error)


def end(span: Span, attributes: Attributes | None = None, *, failed: bool = False, error: Any = None) -> None:
    """End ``span``. An error's message may have what a peer wrote, or a secret, so that its class is all that is kept:
    the log has the rest."""
    for name, value in (attributes or {}).items():
        if value not in ("", None):
            span.set_attribute(name, value)
    if error is not None and not isinstance(error, StopConsumer):
        span.set_attribute(names.ERROR_TYPE, type(error).__qualname__)
        failed = True
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end()
