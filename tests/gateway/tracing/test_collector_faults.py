"""A collector that refuses, hangs, answers nonsense or dies: messages are handled, and each lost span is counted."""

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import aiohttp
import httpx
import psutil
import pytest
from gateway_traced import handlers, traced
from servers import certificates
from servers.collector import Refused, collecting, taken
from servers.collector_process import CollectorProcess
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.programs import program
from servers.site import Site
from servers.site import until as until_now
from waiting import until

from gateway.tracing import collector_session, service
from gateway.tracing.span_counts import span_counts

HANDLERS = """
from gateway import AsyncMqttConsumer


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done"})


class Things(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass
"""
FILE = """
servers: {web: {protocol: http, bind: "127.0.0.1:0"}}
routes: {http: traced_handlers.app}
log: {level: warning}
tracing: {endpoint: "COLLECTOR", sample: 100%}
"""
Answers = Callable[[BaseHTTPRequestHandler], None]
NUMBER = 5


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setattr(service, "FLUSH", 0.2)
    with handlers(tmp_path, HANDLERS):
        yield


def answer(request: BaseHTTPRequestHandler, status: int, **fields: str) -> None:
    request.send_response(status)
    for name, value in fields.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", "0")
    request.end_headers()
    raise Refused


def huge(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(4096):  # 4 GiB, if it is read
        request.wfile.write(b"x" * 1024 * 1024)


def endless(request: BaseHTTPRequestHandler) -> None:
    """A byte now and then, each sooner than a read times out."""
    request.send_response(200)
    request.end_headers()
    for _ in range(300):
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.1)


def breaks_off(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "100")
    request.end_headers()
    request.wfile.write(b"x")
    request.close_connection = True


def hangs(request: BaseHTTPRequestHandler) -> None:
    time.sleep(3)
    raise Refused


def nonsense(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"\x00\xff nonsense\r\n\r\n")
    request.close_connection = True
    raise Refused


def lost_in(text: str) -> int:
    return sum(int(number) for number in re.findall(r" tracing: (\d+) spans are lost, http", text))


LOST: dict[str, tuple[Answers, str, str]] = {
    "400": (partial(answer, status=400), "failed", ": 400 Bad Request"),
    "401": (partial(answer, status=401), "failed", ": 401 Unauthorized"),
    "429": (partial(answer, status=429, Retry_After="3600"), "failed", ": 429 Too Many Requests"),
    "500": (partial(answer, status=500), "failed", ": 500 Internal Server Error"),
    "503": (partial(answer, status=503), "failed", ": 503 Service Unavailable"),
    "a redirect": (partial(answer, status=302, Location="/login"), "failed", "302 Found, a redirect to another URL"),
    "hangs": (hangs, "failed", "imed out"),
    "nonsense": (nonsense, "failed", "nonsense"),
    "rejects all": (partial(taken, rejected=10**9), "rejected", "it rejects them"),
}
KEPT: dict[str, Answers] = {"huge": huge, "endless": endless, "breaks off": breaks_off}
"""The status says that they are taken."""


@contextlib.asynccontextmanager
async def counting(file: str) -> AsyncIterator[Callable[[], dict[str, int]]]:
    """Handle some requests, each with a span. Yields a function, which returns what has become of spans since, by the
    metric's words."""
    before = span_counts.results
    async with traced(file) as gateway, aiohttp.ClientSession() as client:
        for _ in range(NUMBER):
            async with client.get(gateway.url("/")) as response:
                assert await response.text() == "done"
        yield lambda: {
            word: number - before[word] for word, number in span_counts.results.items() if number > before[word]
        }


@pytest.mark.parametrize("what", LOST)
async def test_what_a_collector_does_not_take_is_counted(what: str, capfd: pytest.CaptureFixture[str]) -> None:
    answers, word, why = LOST[what]
    with collecting() as collector:
        collector.answers = answers
        async with counting(FILE.replace("COLLECTOR", collector.url)) as became:
            await until(lambda: sum(became().values()) == NUMBER)
            assert became() == {word: NUMBER}
    lines = capfd.readouterr().err.splitlines()
    assert why in lines[0]
    assert sum(lost_in(line) for line in lines) == NUMBER, "and OpenTelemetry says nothing"


@pytest.mark.parametrize("what", KEPT)
async def test_an_answer_is_not_read_further_than_it_is_needed(what: str) -> None:
    with collecting() as collector:
        collector.answers = KEPT[what]
        before = psutil.Process().memory_info().rss
        async with counting(FILE.replace("COLLECTOR", collector.url)) as became:
            await until(lambda: became() == {"sent": NUMBER})
        assert psutil.Process().memory_info().rss - before < 64 * 1024 * 1024


async def test_some_of_a_batch_are_rejected() -> None:
    with collecting() as collector:
        collector.answers = partial(taken, rejected=1)
        async with counting(FILE.replace("COLLECTOR", collector.url)) as became:
            await until(lambda: sum(became().values()) == NUMBER)
            assert became()["rejected"] == collector.requests


async def test_a_certificate_of_somebody_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with collecting(certificates.make(tmp_path)) as collector:
        async with counting(FILE.replace("COLLECTOR", collector.url)) as became:
            await until(lambda: became() == {"failed": NUMBER})
        assert collector.spans == []
    assert "certificate verify failed: self-signed certificate" in capfd.readouterr().err


async def test_a_certificate_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = certificates.make(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", pair.certificate)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they would go before it
        monkeypatch.delenv(name, raising=False)
    with collecting(pair) as collector:
        url = collector.url.replace("127.0.0.1", "localhost")
        async with counting(FILE.replace("COLLECTOR", url)) as became:
            await until(lambda: became() == {"sent": NUMBER})
        assert len(collector.spans) == NUMBER


async def test_a_session_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert collector_session.session() is not None
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "some")
    assert collector_session.session() is None


async def test_a_path_of_any_length_makes_a_small_span() -> None:
    with collecting() as collector:
        async with traced(FILE.replace("COLLECTOR", collector.url)) as gateway, aiohttp.ClientSession() as client:
            async with client.get(gateway.url("/" + "x" * 6000)) as response:
                assert response.status == 200
            await until(lambda: collector.spans)
        assert len(collector.spans[0].attributes["url.path"]) == 1024


# The daemon, and a collector that stops and dies.

DAEMON = """
servers:
  devices: {protocol: mqtt, bind: "127.0.0.1:MQTT"}
routes:
  mqtt: [{topic: things/+, app: traced_handlers.Things}]
log: {level: warning}
console: {bind: "127.0.0.1:CONSOLE"}
tracing: {endpoint: "COLLECTOR", sample: 100%}
"""
SPANS = 2
"""A message's, and its handler's."""


class Daemon(GatewayProcess):
    def __init__(self, folder: Path, collector: str) -> None:
        self.mqtt, self.console = free_port(), free_port()
        ports = {"MQTT": self.mqtt, "CONSOLE": self.console, "COLLECTOR": collector}
        config = DAEMON
        for name, value in ports.items():
            config = config.replace(name, str(value))
        super().__init__(folder, "traced_handlers", HANDLERS, config, OTEL_EXPORTER_OTLP_TIMEOUT="10")

    def start(self) -> None:
        super().start()
        until_now(lambda: Site.accepts(self.mqtt) and Site.accepts(self.console), self.output)

    def publish(self, number: int) -> None:
        """Each is acknowledged."""
        command = [program("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(self.mqtt), "-t", "things/1", "-q", "1", "-l"]
        subprocess.run(command, input=b"21.5\n" * number, check=True, timeout=120, capture_output=True)

    def became(self) -> dict[str, int]:
        text = httpx.get(f"http://127.0.0.1:{self.console}/metrics", timeout=20).text
        found = re.findall(r'^gateway_tracing_spans_total\{result="(\w+)"\} (\S+)$', text, re.MULTILINE)
        return {word: int(float(number)) for word, number in found}

    @property
    def memory(self) -> int:
        assert self._process is not None
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def lost_lines(self) -> int:
        return lost_in(self.output())


@pytest.fixture
def collector_process() -> Iterator[CollectorProcess]:
    made = CollectorProcess()
    yield made
    made.close()


@pytest.fixture
def daemon(tmp_path: Path, collector_process: CollectorProcess) -> Iterator[Daemon]:
    made = Daemon(tmp_path / "daemon", collector_process.url)
    made.start()
    yield made
    with contextlib.suppress(Exception):
        made.stop(signal.SIGKILL)


@pytest.mark.fault
@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_collector_that_stops_or_dies(
    daemon: Daemon, collector_process: CollectorProcess, how: signal.Signals
) -> None:
    """20,000 messages are handled, in bounded memory; the end is not held up; and what is lost is counted."""
    daemon.publish(100)
    until_now(lambda: daemon.became().get("sent") == SPANS * 100, lambda: str(daemon.became()))
    collector_process.signal(how)
    daemon.publish(3000)  # more than may wait
    before = daemon.memory
    daemon.publish(20_000)
    assert daemon.memory - before < 16 * 1024 * 1024
    became = daemon.became()
    assert became["sent"] == SPANS * 100
    assert SPANS * 23_000 - (became["dropped"] + became["failed"]) <= 2048 + 512  # these wait, or are under way
    assert daemon.stop(signal.SIGTERM) == 0, daemon.output()
    assert daemon.lost_lines() == SPANS * 23_000, daemon.output()
    assert daemon.output().count("WARNING") <= 4, "one line a minute"


@pytest.mark.fault
@pytest.mark.timeout(240)
def test_a_collector_that_goes_on_gets_what_waited(daemon: Daemon, collector_process: CollectorProcess) -> None:
    collector_process.signal(signal.SIGSTOP)
    daemon.publish(5000)
    collector_process.signal(signal.SIGCONT)
    until_now(lambda: sum(daemon.became().values()) == SPANS * 5000, lambda: str(daemon.became()))
    became = daemon.became()
    assert became["sent"] >= 2048
    assert became["dropped"] > 0
    daemon.publish(100)
    until_now(lambda: daemon.became()["sent"] == became["sent"] + SPANS * 100, lambda: str(daemon.became()))
    assert daemon.stop(signal.SIGTERM) == 0
    assert daemon.lost_lines() == SPANS * 5000 - became["sent"]
