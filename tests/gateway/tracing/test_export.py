"""Spans leave in the background: a collector that is away, or silent, costs a line a minute, and holds up nothing."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import aiohttp
import pytest
from gateway_traced import handlers, traced
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from servers.ports import free_port
from waiting import until

from gateway.logs.formatters import JSONFormatter
from gateway.tracing import export, service
from gateway.tracing.export import Batches, ReportedExporter

HANDLERS = """
import logging


async def app(scope, receive, send):
    if scope["type"] == "http":
        logging.getLogger("shop").warning("sold out")
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done"})
"""
FILE = """
servers: {web: {protocol: http, bind: "127.0.0.1:0"}}
routes: {http: traced_handlers.app}
log: {level: warning}
tracing: {endpoint: "COLLECTOR", sample: 100%}
"""


@pytest.fixture(autouse=True)
def _handlers(tmp_path: Path) -> Iterator[None]:
    with handlers(tmp_path, HANDLERS):
        yield


def lost(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("tracing:")]


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[list[str]]:
    handler = Lines()
    loggers = [logging.getLogger(name) for name in ("gateway.tracing.export", *export._LOUD)]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler.lines
    for logger in loggers:
        logger.removeHandler(handler)


async def test_a_collector_that_is_away_is_one_line_and_one_at_the_end(
    logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setattr(service, "FLUSH", 0.2)
    file = FILE.replace("COLLECTOR", f"http://127.0.0.1:{free_port()}/v1/traces")
    async with traced(file) as gateway, aiohttp.ClientSession() as client:
        for _ in range(20):
            async with client.get(gateway.url("/")) as answer:
                assert await answer.text() == "done"
        await until(lambda: lost(logged))
        async with client.get(gateway.url("/")) as answer:
            assert await answer.text() == "done"
    await until(lambda: sum(int(line.split()[1]) for line in lost(logged)) == 21)
    assert len(lost(logged)) == 2, "the second one at the end"
    assert not any("Queue full" in line or line.endswith("it is too slow") for line in lost(logged))
    assert logged == lost(logged), "OpenTelemetry itself says nothing"


async def test_a_collector_that_is_silent_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FLUSH", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = FILE.replace("COLLECTOR", f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces")
        async with traced(file) as gateway, aiohttp.ClientSession() as client:
            async with client.get(gateway.url("/")) as answer:
                assert await answer.text() == "done"
            began = time.monotonic()
        assert time.monotonic() - began < 8, "the exporter itself would wait for 10 s"


async def test_what_is_left_is_sent_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with traced(FILE) as gateway, aiohttp.ClientSession() as client, client.get(gateway.url("/")) as answer:
        assert await answer.text() == "done"
    assert gateway.collector.named("GET http")


async def test_records_of_the_log_name_their_span() -> None:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    logging.getLogger("shop").addHandler(handler)
    try:
        async with traced(FILE) as gateway, aiohttp.ClientSession() as client:
            async with client.get(gateway.url("/")) as answer:
                await answer.read()
            span = await gateway.span("GET http")
    finally:
        logging.getLogger("shop").removeHandler(handler)
    record = json.loads(stream.getvalue())
    assert (record["trace_id"], record["span_id"]) == (span.trace, span.id)


class Failing(SpanExporter):
    def __init__(self) -> None:
        self.raises = False

    def export(self, spans: object) -> SpanExportResult:
        if self.raises:
            raise OSError("no such host")
        return SpanExportResult.FAILURE


def test_one_line_a_minute_has_the_number_of_all(logged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(export.time, "monotonic", lambda: now[0])
    failing = Failing()
    reported = ReportedExporter(failing, "the collector")
    for at in (0, 1, 30, 59, 61, 62):
        now[0], failing.raises = at, at > 1
        reported.export([None, None])
    reported.shutdown()
    numbers = [line.split(",")[0] for line in lost(logged)]
    assert numbers == [f"tracing: {number} spans are lost" for number in (2, 8, 2)], "the last at the end"
    assert lost(logged)[1].endswith("OSError: no such host")


@pytest.mark.parametrize("others", [0, 1])
def test_each_span_that_a_collector_which_hangs_does_not_take_is_counted(
    logged: list[str], monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    monkeypatch.setattr(export, "TELL_AGAIN", 0.0)
    earlier = [ReportedExporter(Failing(), "another one") for _ in range(others)]  # a gateway that still ends
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        batches = Batches(ReportedExporter(OTLPSpanExporter(url, timeout=0.2), "the collector"))
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(batches)
        tracer = provider.get_tracer("test")
        for _ in range(3 * export.MOST):
            tracer.start_span("one").end()
        batches.shutdown()
    for each in earlier:
        each.shutdown()
    assert sum(int(line.split()[1]) for line in lost(logged)) == 3 * export.MOST
    assert "timeout" in lost(logged)[0]
    assert logged == lost(logged)


async def test_a_gateway_that_takes_over_traces_on_by_its_own_settings() -> None:
    """And what is under way ends where it began."""
    async with traced(FILE) as before, aiohttp.ClientSession() as client:
        async with traced(FILE) as after:
            async with client.get(after.url("/")) as answer:
                await answer.read()
            await after.span("GET http")
            async with client.get(before.url("/")) as answer:
                await answer.read()
            await until(lambda: len(after.collector.spans) == 2)
        assert before.collector.spans == []
        await asyncio.sleep(0)
