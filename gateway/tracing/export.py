"""Sends spans to a collector, in a thread and in bounded memory."""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

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

from gateway.tracing.sampling import is_decided
from gateway.tracing.settings import TracingSettings

logger = logging.getLogger(__name__)

TELL_AGAIN = 60.0
"""Seconds between two warnings that spans are lost."""
MOST = int(os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") or 2048)
"""Spans that wait to be sent."""
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
            self._here.why = self.why or " ".join(record.getMessage().split())[:300]
        return False

    def count(self, more: int) -> None:
        """Listen as long as there are exporters."""
        self._exporters += more
        for name in _LOUD:
            change = logging.getLogger(name).addFilter if self._exporters else logging.getLogger(name).removeFilter
            change(self)


_heard = _Heard()


class ReportedExporter(SpanExporter):
    """Counts the spans that ``exporter`` did not send, or the queue dropped. Logs one line a minute at most."""

    def __init__(self, exporter: SpanExporter, where: str) -> None:
        self._exporter = exporter
        self._where = where
        # Each number has one thread that counts it up, so that no lock is needed.
        self._put = 0
        self._taken = 0
        self._dropped = 0
        self._failed = 0
        self._told = 0
        self._why = ""
        self._told_at = -TELL_AGAIN
        _heard.count(1)

    def has_room(self) -> bool:
        """Count one more span that is to be sent; False if too many wait."""
        if self._put - self._taken >= MOST:
            self._dropped += 1
            return False
        self._put += 1
        return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._taken += len(spans)
        _heard.begin()
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # it must not end the thread that sends
            result = SpanExportResult.FAILURE
            _heard.begin(f"{type(error).__name__}: {error}")
        if result is not SpanExportResult.SUCCESS:
            self._failed += len(spans)
            self._why = _heard.why
        if time.monotonic() - self._told_at >= TELL_AGAIN:
            self._tell()
        return result

    def _tell(self) -> None:
        if lost := self._failed + self._dropped - self._told:
            self._told_at = time.monotonic()
            self._told += lost
            why = self._why or "it is too slow"
            logger.warning("tracing: %d spans are lost, %s does not take them: %s", lost, self._where, why)

    def shutdown(self) -> None:
        self._exporter.shutdown()
        self._tell()
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


class _Undecided(Sampler):
    """Samples spans without a parent, which other code begins: none of a message that is not traced, else a share."""

    def __init__(self, ratio: float) -> None:
        self.share = TraceIdRatioBased(ratio)

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


class Export:
    """The way of one gateway's spans to its collector."""

    def __init__(self, settings: TracingSettings) -> None:
        """Start the thread that sends."""
        exporter = OTLPSpanExporter(settings.endpoint)
        where = settings.endpoint or "the collector"
        self._processor = Batches(ReportedExporter(exporter, where))
        _Process.processor.processor = self._processor

    def close(self, seconds: float, done: Callable[[], object]) -> None:
        """Send what is left, for so many seconds at most, and call ``done``, in a thread of its own. A collector that
        does not answer holds up nothing."""
        if _Process.processor.processor is self._processor:
            _Process.processor.processor = None
        processor = self._processor

        def end() -> None:
            try:
                processor.shutdown()  # type: ignore[no-untyped-call]  # it is so there
            finally:
                done()

        threading.Thread(target=end, name="tracing", daemon=True).start()
