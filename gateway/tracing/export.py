"""Sends spans to a collector, in a thread and in bounded memory."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

from gateway.tracing.collector_session import CollectorSession, session
from gateway.tracing.sampling import is_decided
from gateway.tracing.settings import TracingSettings
from gateway.tracing.span_counts import span_counts

logger = logging.getLogger(__name__)

TELL_AGAIN = 60.0
"""Seconds between two warnings that spans are lost."""
MOST = int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or 2048)
"""Spans that wait to be sent."""
LONGEST_REASON = 300
"""Characters, for the log."""
_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_LOUD = (_EXPORTER, "opentelemetry.sdk._shared_internal")
"""Loggers of OpenTelemetry that write a line or more for each batch that is lost."""


class _Heard(logging.Filter):
    """Keeps the lines of OpenTelemetry's exporters from the log, and the first about a batch for ours: later ones do
    not say why. Each exporter has a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._here = threading.local()
        self._exporters = 0

    @property
    def why(self) -> str:
        """What this thread has said since :meth:`begin`."""
        return getattr(self._here, "why", "")

    def begin(self, why: str = "") -> None:
        self._here.why = why

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == _EXPORTER and record.levelno >= logging.WARNING:
            self._here.why = self.why or " ".join(record.getMessage().split())[:LONGEST_REASON]
        return False

    def count(self, more: int) -> None:
        """Listen as long as there are exporters."""
        self._exporters += more
        for name in _LOUD:
            change = logging.getLogger(name).addFilter if self._exporters else logging.getLogger(name).removeFilter
            change(self)


_heard = _Heard()


class ReportedExporter(SpanExporter):
    """Counts what becomes of the spans that ``exporter`` is to send. Logs one line a minute at most about lost ones.

    ``session``: what ``exporter`` talks by, if it notes what the collector rejects.
    """

    def __init__(self, exporter: SpanExporter, where: str, session: CollectorSession | None = None) -> None:
        self._exporter = exporter
        self._where = where
        self._session = session
        self._lock = threading.Lock()  # spans end on any thread
        self._waiting = 0
        self._under_way = 0
        self._has_ended = False
        self._lost = 0
        self._why = ""
        self._told_at = -TELL_AGAIN
        _heard.count(1)

    def has_room(self) -> bool:
        """Count one more span that is to be sent; False if it is lost, because too many wait."""
        with self._lock:
            if self._has_ended or self._waiting >= MOST:
                self._lose(1, "dropped")
                return False
            self._waiting += 1
            return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with self._lock:
            if self._has_ended:  # they are counted
                return SpanExportResult.FAILURE
            self._waiting -= len(spans)
            self._under_way = len(spans)
        result, why = self._try(spans)
        with self._lock:
            if not self._has_ended:
                self._settle(result, why)
        if time.monotonic() - self._told_at >= TELL_AGAIN:
            self._tell()
        return result

    def _try(self, spans: Sequence[ReadableSpan]) -> tuple[SpanExportResult, str]:
        _heard.begin()
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # it must not end the thread that sends
            return SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        said = self._session.why if self._session is not None else ""
        return result, " ".join(said.split())[:LONGEST_REASON] or _heard.why

    def _settle(self, result: SpanExportResult, why: str) -> None:
        number, self._under_way = self._under_way, 0
        if result is not SpanExportResult.SUCCESS:
            self._lose(number, "failed", why)
            return
        rejected = 0 if self._session is None else min(max(self._session.rejected, 0), number)
        if rejected:
            self._lose(rejected, "rejected", "it rejects them")
        span_counts.add("sent", number - rejected)

    def _lose(self, number: int, result: str, why: str = "") -> None:
        self._lost += number
        self._why = why or self._why
        span_counts.add(result, number)

    def _tell(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            self._told_at = time.monotonic()
            why = self._why or "it is too slow"
            logger.warning("tracing: %d spans are lost, %s does not take them: %s", lost, self._where, why)

    def give_up(self) -> None:
        """Count as lost what has not been sent by now. Calls after the first do nothing."""
        with self._lock:
            if self._has_ended:
                return
            self._has_ended = True
            self._lose(max(self._waiting, 0), "dropped")
            self._lose(self._under_way, "failed")
        self._exporter.shutdown()
        self._tell()

    def shutdown(self) -> None:
        """The thread that sends has ended."""
        self.give_up()
        _heard.count(-1)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class Batches(BatchSpanProcessor):
    """Sends spans in batches, on a thread. The base class drops spans if its queue is full; this one counts them."""

    def __init__(self, exporter: ReportedExporter) -> None:
        super().__init__(exporter, max_queue_size=MOST)
        self._reported = exporter

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled and self._reported.has_room():
            super().on_end(span)


class _Replaceable(SpanProcessor):
    """Passes spans to the processor of the gateway that runs: OpenTelemetry's provider stays as long as the process."""

    def __init__(self) -> None:
        self.processor: SpanProcessor | None = None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if (processor := self.processor) is not None:
            processor.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        if (processor := self.processor) is not None:
            processor.on_end(span)
        else:
            span_counts.add("dropped", 1)


class _Undecided(Sampler):
    """Samples spans without a parent, which other code begins: none of a message that is not traced, else a share."""

    def __init__(self, ratio: float) -> None:
        self.share: Sampler = TraceIdRatioBased(ratio)

    def should_sample(
        self, parent_context: Context | None, trace_id: int, name: str, *args: Any, **kwargs: Any
    ) -> SamplingResult:
        sampler = ALWAYS_OFF if is_decided.get() else self.share
        return sampler.should_sample(parent_context, trace_id, name, *args, **kwargs)

    def get_description(self) -> str:
        return f"Undecided{{{self.share.get_description()}}}"


class _Process:
    """What a process has one of."""

    processor = _Replaceable()
    sampler: _Undecided | None = None
    tracer: trace.Tracer | None = None


def tracer_of(settings: TracingSettings) -> trace.Tracer:
    """Return what makes our spans. The first call of a process also makes the provider that other code finds; an
    application that has set one up keeps that, and our spans go there."""
    if _Process.sampler is not None:
        _Process.sampler.share = TraceIdRatioBased(settings.sample)
    if _Process.tracer is None:
        _Process.tracer = _made(settings)
    return _Process.tracer


def _made(settings: TracingSettings) -> trace.Tracer:
    if isinstance(theirs := trace.get_tracer_provider(), TracerProvider):
        logger.info("tracing: the application has a tracer provider of its own, to which all spans go")
        return theirs.get_tracer("asgi-gateway")
    resource = Resource.create({"service.name": settings.service}).merge(OTELResourceDetector().detect())
    _Process.sampler = _Undecided(settings.sample)
    others = TracerProvider(ParentBased(_Process.sampler), resource, shutdown_on_exit=False)
    ours = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)  # what is traced is decided before
    for provider in (others, ours):
        provider.add_span_processor(_Process.processor)
    trace.set_tracer_provider(others)
    return ours.get_tracer("asgi-gateway")


def _shown(endpoint: str | None) -> str:
    """Return the collector for the log: its URL may have a secret before the host, and in the query."""
    if endpoint is None:
        return "the collector"
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Export:
    """The way of one gateway's spans to its collector."""

    def __init__(self, settings: TracingSettings) -> None:
        """Start the thread that sends."""
        by = session()
        self._exporter = ReportedExporter(
            OTLPSpanExporter(settings.endpoint, session=by), _shown(settings.endpoint), by
        )
        self._processor = Batches(self._exporter)
        _Process.processor.processor = self._processor

    def close(self, done: Callable[[], object]) -> None:
        """Send what is left, and call ``done``, in a thread of its own; :meth:`give_up` ends that."""
        if _Process.processor.processor is self._processor:
            _Process.processor.processor = None
            if _Process.sampler is not None:
                _Process.sampler.share = ALWAYS_OFF
        processor = self._processor

        def end() -> None:
            try:
                processor.shutdown()  # type: ignore[no-untyped-call]  # it is so there
            finally:
                done()

        threading.Thread(target=end, name="tracing", daemon=True).start()

    def give_up(self) -> None:
        """Count as lost what is left."""
        self._exporter.give_up()
