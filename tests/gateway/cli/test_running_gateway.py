"""`gateway certificates`, `gateway log`, and the generations in `gateway status`: of a gateway that runs."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mqtt_paho import Paho
from servers.certificates import make
from servers.command import run
from servers.daemon import Daemon
from servers.ports import free_port
from servers.site import until
from websockets.sync.client import connect

HANDLERS = """
from gateway import AsyncMqttConsumer, AsyncWebsocketConsumer

class Chat(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.accept()

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:{web}"}}
  secure: {{protocol: http, bind: "127.0.0.1:{secure}", tls: {{certificate: tls.pem, key: tls.key}}}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:{devices}", anonymous: true}}
routes:
  websocket: running_handlers.Chat
  mqtt: [{{topic: "sensors/#", app: running_handlers.Device}}]
log: {{level: info, levels: {{gateway.layers: error}}}}
threads: {threads}
"""


class Place:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = {name: free_port() for name in ("web", "secure", "devices")}
        make(folder, "tls")
        (folder / "running_handlers.py").write_text(HANDLERS)
        self.write(threads=4)
        self.daemon = Daemon(folder)
        self.daemon.says("ready")

    def write(self, threads: int) -> None:
        (self.folder / "gateway.yaml").write_text(FILE.format(**self.port, threads=threads))

    def says(self, *arguments: str, code: int = 0) -> str:
        done = run(self.folder, *arguments, COLUMNS="300")
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def older(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.says("status", "--json"))["older"]
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    try:
        yield place
    finally:
        place.daemon.close()


def test_a_generation_that_was_replaced_is_shown_while_it_has_connections(place: Place) -> None:
    until(lambda: "ready" in place.says("status"), place.daemon.text)
    assert place.older() == []
    began = time.time()
    with connect(f"ws://127.0.0.1:{place.port['web']}/chat/"):
        with Paho(place.port["devices"], "dev-1", 5), connect(f"ws://127.0.0.1:{place.port['web']}/chat/"):
            place.write(threads=5)
            assert "generation 2" in place.says("reload")
            (older,) = place.older()
            assert older["generation"] == 1
            assert began <= older["replaced"] <= time.time()
            assert older["connections"] == {"web": 2, "devices": 1}
            shown = place.says("status")
            assert "generation 1, replaced at 20" in shown
            assert "still has: web 2, devices 1\n" in shown
            place.write(threads=6)
            place.says("reload")
            assert [each["generation"] for each in place.older() if each["connections"]] == [1]
        until(lambda: place.older()[-1]["connections"] == {"web": 1}, place.says("status"))
    until(lambda: place.older() == [], place.says("status"))
    assert "replaced at" not in place.says("status")


def test_certificates_are_listed_with_their_expiry_also_one_that_is_renewed_or_has_expired(place: Place) -> None:
    until(lambda: "ready" in place.says("status"), place.daemon.text)
    heading, certificate = place.says("certificates").splitlines()
    assert heading.split() == ["server", "use", "expires", "in"]
    assert certificate.split()[0] == "secure"
    assert certificate.split()[-1] == "1d"
    (found,) = json.loads(place.says("certificates", "--json"))["certificates"]
    assert 0 < found["expires"] - time.time() < 2 * 86400
    renew = "openssl x509 -in tls.pem -signkey tls.key -days 0 -out renewed.pem"
    subprocess.run(renew.split(), cwd=place.folder, check=True, capture_output=True)
    (place.folder / "renewed.pem").replace(place.folder / "tls.pem")
    assert " ago" in place.says("certificates", code=1)


def test_log_levels_are_shown_and_changed_until_the_next_reload(place: Place) -> None:
    until(lambda: "ready" in place.says("status"), place.daemon.text)
    assert json.loads(place.says("log", "show", "--json")) == {
        "level": "info",
        "levels": {"gateway.layers": "error"},
        "lost": 0,
    }
    shown = place.says("log", "level", "debug", "--logger", "gateway.delivery")
    assert [line.split() for line in shown.splitlines()] == [
        ["level", "info"],
        ["gateway.layers", "error"],
        ["gateway.delivery", "debug"],
    ]
    assert json.loads(place.says("log", "level", "warning", "--json"))["level"] == "warning"
    assert "did you mean 'gateway.delivery'" in place.says(
        "log", "level", "debug", "--logger", "gateway.delvery", code=2
    )
    assert "loud" in place.says("log", "level", "loud", code=2)
    place.says("reload", "--force")
    assert json.loads(place.says("log", "show", "--json"))["levels"] == {"gateway.layers": "error"}


@pytest.mark.parametrize("command", [("certificates",), ("log", "show"), ("log", "level", "debug")])
def test_where_no_gateway_runs(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("servers: {web: {protocol: http}}\napplication: shop.app\n")
    done = run(tmp_path, *command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no gateway runs with this file; gateway run starts it\n"
