"""What a supervisor hears: alive, ready, and why not."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.daemon import Daemon, in_background
from servers.mosquitto import Mosquitto, mosquitto
from servers.ports import free_port
from servers.site import until

HANDLERS = """
import asyncio

from gateway import MqttConsumer


async def app(scope, receive, send):
    print("handling", scope["path"], flush=True)
    await asyncio.sleep(3600 if scope["path"] == "/forever" else 0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


class Readings(MqttConsumer):
    pass
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  plant: {{protocol: mqtt-client, url: "mqtt://127.0.0.1:{broker}", retry: 100ms, retry_max: 200ms}}
routes:
  http: console_handlers.app
  mqtt: console_handlers.Readings
console: {{bind: "127.0.0.1:{console}", required: [{required}]}}
shutdown_timeout: 2s
"""


class Supervised:
    def __init__(self, folder: Path, broker: int, required: str) -> None:
        self.web, self.console = free_port(), free_port()
        (folder / "console_handlers.py").write_text(HANDLERS)
        text = FILE.format(web=self.web, broker=broker, console=self.console, required=required)
        (folder / "gateway.yaml").write_text(text)
        self.daemon = Daemon(folder)

    def ask(self, path: str = "/readyz") -> tuple[int, Any]:
        answer = httpx.get(f"http://127.0.0.1:{self.console}{path}", timeout=5)
        return answer.status_code, answer.json()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto() as broker:
        yield broker


@pytest.mark.parametrize("required", ["", "plant"])
def test_a_broker_that_is_away_counts_where_it_is_required(broker: Mosquitto, tmp_path: Path, required: str) -> None:
    broker.stop()
    site = Supervised(tmp_path, broker.port, required)
    try:
        site.daemon.says("/healthz, /readyz")
        assert site.ask("/healthz") == (200, {"alive": True})
        status, body = site.ask()
        assert (status, body["ready"]) == ((503, False) if required else (200, True))
        plant = body["servers"]["plant"]
        assert (plant["state"], plant["required"]) == ("connecting", bool(required))
        assert "refused" in plant["detail"]
        assert body["servers"]["web"]["state"] == "ready"
        broker.start()
        until(lambda: site.ask()[1]["servers"]["plant"]["state"] == "ready", "the broker is back")
        assert site.ask()[0] == 200
        broker.stop()
        until(lambda: site.ask()[1]["servers"]["plant"]["state"] == "connecting", "it is away again")
        assert site.ask()[0] == (503 if required else 200)
    finally:
        site.daemon.close()


def test_it_is_not_ready_while_it_drains(tmp_path: Path) -> None:
    site = Supervised(tmp_path, free_port(), "")
    try:
        site.daemon.says("/healthz, /readyz")
        in_background(f"http://127.0.0.1:{site.web}/forever", [])
        site.daemon.says("handling")
        site.daemon.process.send_signal(signal.SIGTERM)
        site.daemon.says("draining")
        status, body = site.ask()
        assert (status, body["ready"], body["servers"]["web"]["state"]) == (503, False, "draining")
        assert site.ask("/healthz")[0] == 200
        assert site.daemon.wait() == 0
    finally:
        site.daemon.close()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/nothing", 404), ("POST", "/readyz", 405)])
def test_there_is_nothing_else(tmp_path: Path, method: str, path: str, status: int) -> None:
    site = Supervised(tmp_path, free_port(), "")
    try:
        site.daemon.says("/healthz, /readyz")
        answer = httpx.request(method, f"http://127.0.0.1:{site.console}{path}", timeout=5)
        assert answer.status_code == status
        assert "error" in json.loads(answer.text)
    finally:
        site.daemon.close()
