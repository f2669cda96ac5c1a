"""`gateway status`, of a gateway that runs and of one that does not."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.site import ROOT, until

from gateway.runtime.health import CONNECTIONS

HANDLERS = """
from gateway import AsyncHttpConsumer, EmailConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(b"ok")

class Desk(EmailConsumer):
    def receive(self, message):
        pass
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  mail: {{protocol: smtp, bind: "127.0.0.1:{mail}"}}
  plant: {{protocol: mqtt-client, url: "mqtt://127.0.0.1:{broker}"}}
routes:
  http: status_handlers.Web
  email: {{app: status_handlers.Desk, inbox: true}}
  mqtt: []
console: {{bind: "127.0.0.1:0", required: [{required}]}}
"""


def status(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gateway", "status", *arguments]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )


def gateway(folder: Path, required: str = "") -> GatewayProcess:
    file = FILE.format(web=free_port(), mail=free_port(), broker=free_port(), required=required)
    return GatewayProcess(folder, "status_handlers", HANDLERS, file)


def test_of_a_gateway_that_runs(tmp_path: Path) -> None:
    process = gateway(tmp_path)
    try:
        process.start()
        until(lambda: status(tmp_path).returncode == 0, process.output)
        shown = status(tmp_path)
        first, *servers, store = shown.stdout.splitlines()
        assert "gateway.yaml: ready, for" in first
        assert [line.split()[1] for line in servers] == ["web", "mail", "plant"]
        assert "connection refused" in servers[2]
        assert store.endswith("gateway.db: 0 waiting, 0 running, 0 dead, 0 outgoing, 0 dead outgoing")
        found = json.loads(status(tmp_path, "--json").stdout)
        assert found["ready"]
        assert found["memory"] > 1024 * 1024
        assert found["servers"][2]["required"] is False
        assert "routes" not in found
    finally:
        assert process.stop(signal.SIGTERM) == 0


def test_the_mailboxes_with_their_last_check_and_trouble(tmp_path: Path) -> None:
    process = gateway(tmp_path)
    file = tmp_path / "gateway.yaml"
    imap = f"support: {{protocol: imap, host: 127.0.0.1, port: {free_port()}, tls: false, username: ann, password: b}}"
    file.write_text(file.read_text().replace("servers:\n", f"servers:\n  {imap}\n"))
    try:
        process.start()
        until(lambda: status(tmp_path).returncode == 0, process.output)
        until(lambda: "refused" in status(tmp_path, "--mailboxes").stdout.splitlines()[-1], process.output)
        *_, heading, mailbox = status(tmp_path, "--mailboxes").stdout.splitlines()
        assert heading.split()[:5] == ["server", "account", "folder", "state", "checked"]
        assert mailbox.split()[:4] == ["support", "ann", "INBOX", "connecting"]
        (found,) = json.loads(status(tmp_path, "--json").stdout)["servers"][0]["mailboxes"]
        assert found["last_trouble"] == "connection refused"
        assert found["lag"] < 60
    finally:
        assert process.stop(signal.SIGTERM) == 0


def test_the_routes_with_their_rates(tmp_path: Path) -> None:
    process = gateway(tmp_path)
    try:
        process.start()
        until(lambda: status(tmp_path).returncode == 0, process.output)
        port = json.loads(status(tmp_path, "--json").stdout)["servers"][0]["address"]
        assert httpx.get(f"http://{port}/").text == "ok"
        until(lambda: "0.0%" in status(tmp_path, "--routes").stdout, lambda: status(tmp_path, "--routes").stdout)
        *_, heading, web, mail = status(tmp_path, "--routes").stdout.splitlines()
        assert heading.split() == ["type", "pattern", "per", "s", "failed", "p50", "p99"]
        assert web.split()[0] == "http"
        assert web.endswith(" ms")
        assert mail.split()[-4:] == ["0", "-", "-", "-"]
        found = json.loads(status(tmp_path, "--routes", "--json").stdout)
        assert found["routes"][0]["rate"] > 0
        assert found["unrouted"][0]["history"] == []
    finally:
        assert process.stop(signal.SIGTERM) == 0


def test_of_one_that_is_not_ready(tmp_path: Path) -> None:
    process = gateway(tmp_path, "plant")
    try:
        process.start()
        until(lambda: "not ready" in status(tmp_path).stdout, process.output)
        assert status(tmp_path).returncode == 1
    finally:
        assert process.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_where_none_runs(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    gateway(tmp_path)
    shown = status(tmp_path, *arguments)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == "no gateway runs with this file; gateway run starts it\n"


def test_while_slow_requests_fill_the_console(tmp_path: Path) -> None:
    process, port = gateway(tmp_path), free_port()
    file = tmp_path / "gateway.yaml"
    file.write_text(file.read_text().replace('"127.0.0.1:0", ', f'"127.0.0.1:{port}", '))
    kind = b"Host: localhost\r\nContent-Type: application/json\r\n"
    slow = b"POST /api/dead/drop HTTP/1.1\r\n" + kind + b"Content-Length: 9\r\n\r\n{"
    try:
        process.start()
        until(lambda: status(tmp_path).returncode == 0, process.output)
        with contextlib.ExitStack() as opened:
            for number in range(CONNECTIONS):
                peer = (f"127.0.0.{2 + number % 2}", 0)
                made = opened.enter_context(socket.create_connection(("127.0.0.1", port), 20, source_address=peer))
                made.sendall(slow)
            assert "ready, for" in status(tmp_path).stdout
            assert httpx.get(f"http://127.0.0.1:{port}/api/status", timeout=20).status_code == 200
    finally:
        assert process.stop(signal.SIGTERM) == 0
