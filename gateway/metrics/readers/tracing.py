"""Traces, on their way to the collector."""

from collections.abc import AsyncIterator

from gateway.metrics.family import Sample, counter
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway
from gateway.tracing.span_counts import span_counts

SPANS = counter(
    "gateway_tracing_spans_total",
    "Spans by what became of them: sent; lost, as the collector rejected them, sending failed, or too many waited"
    " (dropped).",
    "result",
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    if gateway.tracing is not None:
        for result, number in span_counts.results.items():
            yield SPANS.sample(number, result)


READER = Reader("tracing", (SPANS,), read, of="process")
