"""Sends spans to a collector, in a thread and in bounded memory."""

import logging
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
_LOUD = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")
"""Loggers of OpenTelemetry that write a line or more for each batch that is lost."""


class _Heard(logging.Filter):
    """Keeps the lines of OpenTelemetry's exporter from the log, and the first about a batch for ours: later ones do not
    say why."""

    def __init__(self) -> None:
        super().__init__()
        self.why = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            self.why = self.why or " ".join(record.getMessage().split())[:300]
        return False


class ReportedExporter(SpanExporter):
    """Counts what ``exporter`` has not sent, and logs one line a minute at most."""

    def __init__(self, exporter: SpanExporter, where: str) -> None:
        self._exporter = exporter
        self._where = where
        self._heard = _Heard()
        self._lost = 0
        self._told = -TELL_AGAIN
        for name in _LOUD:
            logging.getLogger(name).addFilter(self._heard)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._heard.why = ""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # it must not end the thread that sends
            result, self._heard.why = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
        self._tell()
        return result

    def _tell(self) -> None:
        if self._lost and time.monotonic() - self._told >= TELL_AGAIN:
            self._told = time.monotonic()
            said = "tracing: %d spans are lost, %s does not take them: %s"
            logger.warning(said, self._lost, self._where, self._heard.why)
            self._lost = 0

    def shutdown(self) -> None:
        self._exporter.shutdown()
        for name in _LOUD:
            logging.getLogger(name).removeFilter(self._heard)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


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
        self._processor = BatchSpanProcessor(ReportedExporter(exporter, where))
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
