"""Lines in the combined format: as nginx writes them for the same requests, and as goaccess reads them."""

import base64
import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
from servers.gateway_process import GatewayProcess
from servers.nginx import Nginx
from servers.ports import free_port
from servers.programs import program
from servers.site import until

from gateway.logs.fields import json_schema
from protocols.http.access import Access

HANDLERS = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError  # ASGI's way to say that an application has no lifespan
    if scope["path"].startswith("/crash"):
        raise KeyError("order")
    headers = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})
"""
COMBINED = re.compile(
    r'(?P<host>\S+) - (?P<user>\S+) \[(?P<time>[^]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) (?P<bytes>\d+)'
    r' "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)
NASTY = b'a"b\\c\xc3\xb6\xff\t<script>\\x22 - - [01/Jan/2020:00:00:00 +0000] "GET'


def basic(user: bytes) -> bytes:
    return b"Basic " + base64.b64encode(user + b":hunter2")


REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: probe/1.0\r\nReferer: https://example.org/page\r\n\r\n",
    b"GET /a%22b%0d%0ac/%ff HTTP/1.1\r\nHost: x\r\nUser-Agent: " + NASTY + b"\r\nReferer: " + NASTY + b"\r\n\r\n",
    b"HEAD /head HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /crash HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\nAuthorization: " + basic(b'ann"\\\xc3\xb6') + b"\r\n\r\n",
    b"POST /form HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nAuthorization: Bearer secret\r\n\r\nhi",
    b"GET /bad HTTP/1.1\r\nHost: x\r\nAuthorization: Basic ?\r\n\r\n",
)


def ask(port: int, request: bytes) -> None:
    """Send a request, and read its answer to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        peer.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        while peer.recv(65536):
            pass


class Daemon:
    """A gateway whose http server has access lines."""

    def __init__(self, folder: Path, log: str, form: str = "combined", more: str = "") -> None:
        self.port = free_port()
        config = (
            f"servers: {{web: {{protocol: http, bind: '127.0.0.1:{self.port}', access_log: {form}{more}}}}}\n"
            f"application: access_handlers.app\nlog: {log}\n"
        )
        self.process = GatewayProcess(folder, "access_handlers", HANDLERS, config)
        self.access_log = folder / "access.log"
        self.process.start()
        until(lambda: "try: " in self.process.output(), self.process.output)

    def lines(self, number: int) -> list[str]:
        until(lambda: self.access_log.exists() and len(self.access_log.read_text().splitlines()) >= number, "all lines")
        return self.access_log.read_text().splitlines()


New = Callable[..., Daemon]


@pytest.fixture
def new(tmp_path: Path) -> Iterator[New]:
    started: list[Daemon] = []

    def start(log: str = "{access_file: access.log}", form: str = "combined", more: str = "") -> Daemon:
        started.append(Daemon(tmp_path / "gateway", log, form, more))
        return started[-1]

    yield start
    for each in started:
        assert each.process.stop(signal.SIGTERM) == 0


def parsed(line: str) -> dict[str, str]:
    found = COMBINED.fullmatch(line)
    assert found, line
    return found.groupdict()


def test_lines_are_those_of_nginx_in_front(new: New, tmp_path: Path) -> None:
    """The client is nginx, which is not among the server's `trusted_proxies`."""
    daemon = new()
    nginx = Nginx(tmp_path / "nginx", daemon.port)
    try:
        for request in REQUESTS:
            ask(nginx.port, request.replace(b"\r\nHost: x", b"\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9"))
    finally:
        nginx.close()
    ours, theirs = daemon.lines(len(REQUESTS)), nginx.access_log.read_text().splitlines()
    assert len(ours) == len(theirs) == len(REQUESTS)
    for one, other in zip(map(parsed, ours), map(parsed, theirs), strict=True):
        assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", one.pop("time"))
        other.pop("time")
        assert one == other
        assert one["host"] == "127.0.0.1"


def test_with_proxies_lines_have_the_client_that_the_proxy_names(new: New) -> None:
    daemon = new(more=", trusted_proxies: [127.0.0.1]")
    ask(daemon.port, b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7\r\n\r\n")
    assert parsed(daemon.lines(1)[0])["host"] == "192.0.2.7"


def test_queries_and_passwords_are_left_out(new: New) -> None:
    daemon = new()
    ask(daemon.port, b"GET /reset?token=hunter2 HTTP/1.1\r\nHost: x\r\nReferer: http://x/?a=hunter2\r\n\r\n")
    ask(daemon.port, b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: " + basic(b"ann smith") + b"\r\n\r\n")
    first, second = map(parsed, daemon.lines(2))
    assert (first["request"], first["referer"]) == ("GET /reset HTTP/1.1", "http://x/")
    assert second["user"] == r"ann\x20smith"
    assert "hunter2" not in daemon.access_log.read_text() + daemon.process.output()


def test_goaccess_reads_them(new: New, tmp_path: Path) -> None:
    daemon = new("{access_file: access.log, level: warning}")
    for request in REQUESTS:
        ask(daemon.port, request)
    daemon.lines(len(REQUESTS))
    report = tmp_path / "report.json"
    command = [program("goaccess"), str(daemon.access_log), "--log-format=COMBINED", "--no-global-config"]
    subprocess.run([*command, "-o", str(report)], check=True, timeout=60, capture_output=True)
    read = json.loads(report.read_bytes().decode("latin-1"))  # it decodes paths: %ff
    assert read["general"]["valid_requests"] == len(REQUESTS)
    assert read["general"]["failed_requests"] == 0
    by_status = {
        kind["data"]: kind["hits"]["count"] for group in read["status_codes"]["data"] for kind in group["items"]
    }
    assert [count for name, count in by_status.items() if name.startswith("500")] == [1]


def test_they_are_in_the_log_where_there_is_no_file_for_them(new: New) -> None:
    daemon = new("{format: text}")
    ask(daemon.port, REQUESTS[1])
    until(lambda: COMBINED.search(daemon.process.output()), daemon.process.output)


@pytest.mark.parametrize("form", ["combined", "true"])
def test_in_json_they_are_records_of_the_schema(new: New, form: str) -> None:
    daemon = new("{format: json}", form)
    ask(daemon.port, REQUESTS[1])
    until(lambda: "protocols.http.access" in daemon.process.output(), daemon.process.output)
    [record] = [each for each in map(json.loads, daemon.process.output().splitlines()) if "verdict" in each]
    jsonschema.validate(record, json_schema())
    assert (record["what"], record["verdict"], record["bytes"]) == ("GET /a%22b%0d%0ac/%ff", "200", 5)
    assert record["user_agent"] == NASTY.decode("latin-1")
    assert record["server"] == "web"
    if form == "combined":
        parsed(record["message"])


def test_a_client_that_leaves_before_its_answer() -> None:
    told = Access("web", "http", None, "GET", "/", "1.1", (), status=0, size=0, seconds=1.0)
    assert parsed(told.combined())["status"] == "499"
    assert parsed(told.combined())["host"] == "-"


def test_the_file_is_opened_anew_at_the_signal(new: New) -> None:
    daemon = new()
    ask(daemon.port, REQUESTS[0])
    daemon.lines(1)
    daemon.access_log.rename(daemon.access_log.with_name("old.log"))
    process = daemon.process._process
    assert process is not None
    process.send_signal(signal.SIGUSR1)
    until(daemon.access_log.exists, "there is a new file")
    ask(daemon.port, REQUESTS[2])
    assert parsed(daemon.lines(1)[0])["request"] == "HEAD /head HTTP/1.1"
