"""Prometheus scrapes a console."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from servers.daemon import Daemon
from servers.ports import free_port
from servers.prometheus import lint, prometheus
from servers.site import until

FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:0"}}}}
routes: {{http: handlers.page}}
console: {{bind: "127.0.0.1:{console}"}}
"""
HANDLERS = """
async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one that runs."""
    folder: Path = tmp_path_factory.mktemp("site")
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "gateway.yaml").write_text(FILE.format(console=(port := free_port())))
    daemon = Daemon(folder)
    try:
        daemon.says("/metrics")
        yield f"127.0.0.1:{port}"
    finally:
        daemon.close()


def test_promtool_has_nothing_to_say(console: str) -> None:
    answer = httpx.get(f"http://{console}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'gateway_server_ready{protocol="http",server="web"} 1.0' in answer.text
    assert lint(answer.text) == ""


def test_prometheus_scrapes_it(console: str) -> None:
    with prometheus(console) as server:
        until(lambda: server.value("gateway_server_ready") == 1.0, lambda: str(server.target()))
        assert server.target()["lastError"] == ""
        [build] = server.query("gateway_build_info")
        assert build["metric"]["version"]


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1",
        'text/plain;q=0.1, Application/OpenMetrics-Text; version="x\\n"; escaping=evil',
    ],
)
def test_openmetrics_is_for_whom_accepts_it(console: str, accept: str) -> None:
    answer = httpx.get(f"http://{console}/metrics", headers={"accept": accept})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert answer.text.endswith("# EOF\n")
    assert {family.name for family in parse_openmetrics(answer.text)} >= {"gateway_build", "gateway_server_ready"}


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain; version=nonsense", "text/plain; version=1.0.0; escaping=x"])
def test_everybody_else_gets_text(console: str, accept: str) -> None:
    answer = httpx.get(f"http://{console}/metrics", headers={"accept": accept})
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def parts(text: str) -> list[str]:
    """The lines, but for the values, which the next scrape has changed."""
    return [line.rpartition(" ")[0] if line[:1] != "#" else line for line in text.splitlines()]


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
def test_it_is_compressed_for_whom_accepts_that(console: str, accept: str) -> None:
    """httpx unpacks it; raw, it is many times smaller."""
    url = f"http://{console}/metrics"
    plain = httpx.get(url, headers={"accept": accept, "accept-encoding": "identity"})
    zipped = httpx.get(url, headers={"accept": accept, "accept-encoding": "deflate, GZIP;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.headers["vary"] == plain.headers["vary"] == "accept, accept-encoding"
    assert zipped.headers["content-type"] == plain.headers["content-type"]
    assert parts(zipped.text) == parts(plain.text)
    assert int(zipped.headers["content-length"]) < len(plain.content) / 3


@pytest.mark.parametrize(
    ("accepted", "is_zipped"),
    [
        (["gzip"], True),
        (["br, gzip"], True),
        (["*"], True),
        (["br", "gzip"], True),
        ([], False),
        ([""], False),
        (["identity"], False),
        (["gzip;q=0"], False),
        (["gzip ; q=0.000, *"], False),
        (["*;q=0"], False),
        (["gzip;q=0.001"], True),
        (["gzipped"], False),
    ],
)
def test_only_whom_accepts_gzip_gets_it(console: str, accepted: list[str], is_zipped: bool) -> None:
    headers = [("host", "127.0.0.1"), *(("accept-encoding", each) for each in accepted)]
    with httpx.Client() as client:
        request = httpx.Request("GET", f"http://{console}/metrics", headers=headers)
        answer = client.send(request)
    assert (answer.headers.get("content-encoding") == "gzip") == is_zipped
    assert "gateway_build_info" in answer.text


def test_prometheus_asks_for_gzip_and_gets_it(console: str) -> None:
    """What it has counted as sent is less than a plain scrape a time."""
    plain = len(httpx.get(f"http://{console}/metrics", headers={"accept-encoding": "identity"}).content)
    with prometheus(console) as server:
        until(lambda: (server.value('scrape_samples_scraped{job="gateway"}') or 0) > 100, lambda: str(server.target()))
        sent = 'gateway_sent_bytes_total{server="console"}'
        until(lambda: (server.value(f"increase({sent}[1m])") or 0) > 0, "two scrapes")
        each = server.value(
            f"(max_over_time({sent}[1m]) - min_over_time({sent}[1m])) / (count_over_time({sent}[1m]) - 1)"
        )
    assert each is not None
    assert 0 < each < plain / 3


def test_only_reading_is_allowed(console: str) -> None:
    assert httpx.head(f"http://{console}/metrics").status_code == 200
    assert httpx.post(f"http://{console}/metrics").status_code == 405


def asked(console: str, number: int) -> list[socket.socket]:
    """Connections that have asked for the metrics, and have read nothing yet."""
    host, _, port = console.partition(":")
    found = []
    for _ in range(number):
        connection = socket.create_connection((host, int(port)), 10)
        found.append(connection)
        with contextlib.suppress(OSError):  # it was refused, and closed at once
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    return found


def answer_of(connection: socket.socket) -> bytes:
    """All that is sent; empty if the connection was refused."""
    parts = []
    with connection, contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_many_scrapes_at_once_are_answered_whole_or_refused_and_the_next_is_answered(console: str) -> None:
    answers = [answer_of(each) for each in asked(console, 200)]
    whole = [each for each in answers if each.startswith(b"HTTP/1.1 200") and each.endswith(b"\n")]
    assert len(whole) >= 10
    refused = [each for each in answers if not each or each.startswith(b"HTTP/1.1 503")]
    assert len(whole) + len(refused) == 200
    until(lambda: is_answered(console), "an answer after the flood")


def is_answered(console: str) -> bool:
    try:
        return httpx.get(f"http://{console}/metrics", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def test_scrapers_that_read_nothing_hold_up_no_other(console: str) -> None:
    silent = asked(console, 20)
    try:
        assert httpx.get(f"http://{console}/metrics", timeout=10).status_code == 200
        assert httpx.get(f"http://{console}/healthz", timeout=10).status_code == 200
    finally:
        for each in silent:
            each.close()
