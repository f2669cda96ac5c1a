"""Two gateways with one layer, and other processes: whatever sends reaches the pages of both."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from servers.daemon import Daemon
from servers.ports import free_port
from servers.redis import RedisServer, redis_process
from servers.site import ROOT, Site, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

CONFIG = """
layer: LAYER
django: {settings: layer_settings}
console: {bind: "127.0.0.1:${CONSOLE}", required: [layer]}
servers:
  web: {protocol: http, bind: "127.0.0.1:${WEB}"}
  devices: {protocol: mqtt, bind: "127.0.0.1:${MQTT}", anonymous: true}
routes:
  http: django
  websocket:
    - {path: "^channels$", app: layer_handlers.channels}
    - {path: "^", app: layer_handlers.Page}
  mqtt: layer_handlers.Things
"""
HANDLERS = """
from channels.generic.websocket import WebsocketConsumer as ChannelsConsumer
from asgiref.sync import async_to_sync

from gateway import AsyncMqttConsumer, AsyncWebsocketConsumer, layer_event


class Page(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.group_add("live")
        await self.accept()

    @layer_event("told")
    async def on_told(self, message):
        await self.send(message["mark"])


class Things(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await self.group_send("live", {"type": "told", "mark": payload.decode()})


class Theirs(ChannelsConsumer):
    def connect(self):
        async_to_sync(self.channel_layer.group_add)("live", self.channel_name)
        self.accept()

    def told(self, message):
        self.send(text_data=message["mark"])


channels = Theirs.as_asgi()
"""
SETTINGS = """
from pathlib import Path

SECRET_KEY = "only for this test"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["gateway.django", "layer_app"]
ROOT_URLCONF = "layer_urls"
GATEWAY_CONFIG = Path(__file__).parent / "gateway.yaml"
CHANNEL_LAYERS = LAYERS
"""
URLS = """
from django.http import HttpResponse
from django.urls import path

from gateway import group_send


def view(request, mark):
    group_send("live", {"type": "told", "mark": mark})
    return HttpResponse("told")


urlpatterns = [path("tell/<mark>", view)]
"""
COMMAND = """
from django.core.management.base import BaseCommand

from gateway import group_send


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("marks", nargs="+")

    def handle(self, marks, **options):
        for mark in marks:
            group_send("live", {"type": "told", "mark": mark})
"""
PREFORK = """
import multiprocessing, sys
from gateway import group_send

def task(mark):
    group_send("live", {"type": "told", "mark": mark})

task("parent")
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(task, ["child1", "child2", "child3"])
"""
CELERY = """
from celery import Celery
from gateway import group_send

app = Celery("tellers", broker="filesystem://", set_as_current=False)
app.conf.broker_transport_options = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), FOLDER)

@app.task(name="tell")
def tell(mark):
    group_send("live", {"type": "told", "mark": mark})

if __name__ == "__main__":
    for mark in ("celery1", "celery2"):
        tell.delay(mark)
"""
UVICORN = """
import django
import uvicorn

django.setup()

from layer_handlers import channels  # after the settings

uvicorn.run(channels, port={port}, log_level="warning", lifespan="off")
"""
OURS = {"default": {"BACKEND": "gateway.layers.installed.GatewayChannelLayer"}}


class Page:
    """A WebSocket, and what it was told."""

    def __init__(self, port: int, path: str = "") -> None:
        self.marks: list[str] = []
        self._peer = connect(f"ws://127.0.0.1:{port}/{path}")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for text in self._peer:
                self.marks.append(str(text))

    def close(self) -> None:
        self._peer.close()
        self._thread.join(5)


class Host:
    """One gateway of several with the same file."""

    def __init__(self, folder: Path) -> None:
        self.web, self.mqtt, self.console = (free_port() for _ in range(3))
        ports = {"WEB": str(self.web), "MQTT": str(self.mqtt), "CONSOLE": str(self.console)}
        self.daemon = Daemon(folder, **ports)
        self.daemon.says(f"127.0.0.1:{self.mqtt}")

    def publish(self, mark: str) -> None:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.mqtt)
        client.loop_start()
        client.publish("reading", mark, 1).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()

    def ready(self) -> tuple[int, dict[str, object]]:
        answer = httpx.get(f"http://127.0.0.1:{self.console}/readyz", timeout=10)
        return answer.status_code, answer.json().get("layer", {})

    def metric(self, name: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{self.console}/metrics", timeout=10).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


class Hosts:
    def __init__(self, folder: Path, layer: str, layers: object = OURS, workers: int = 1) -> None:
        self.folder = folder
        self._workers = workers
        self._open = contextlib.ExitStack()
        app = folder / "layer_app" / "management" / "commands"
        app.mkdir(parents=True)
        for package in (folder / "layer_app", folder / "layer_app" / "management", app):
            (package / "__init__.py").touch()
        (app / "tell.py").write_text(COMMAND)
        (folder / "gateway.yaml").write_text(CONFIG.replace("LAYER", json.dumps(layer), 1) + f"workers: {workers}\n")
        (folder / "layer_handlers.py").write_text(HANDLERS)
        (folder / "layer_settings.py").write_text(SETTINGS.replace("= LAYERS", f"= {layers!r}"))
        (folder / "layer_urls.py").write_text(URLS)
        self.environment = {"PYTHONPATH": f"{ROOT}:{folder}", "DJANGO_SETTINGS_MODULE": "layer_settings"}
        self.environment |= dict.fromkeys(("WEB", "MQTT", "CONSOLE"), "1")

    def __enter__(self) -> "Hosts":
        self.hosts = []
        with self._open:
            for _ in range(2 if self._workers == 1 else 1):
                self.hosts.append(Host(self.folder))
                self._open.callback(self.hosts[-1].daemon.close)
            self._open = self._open.pop_all()
        pages = 1 if self._workers == 1 else 4  # the system chooses the worker
        self.pages = [self.page(host.web) for host in self.hosts for _ in range(pages)]
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @property
    def text(self) -> str:
        return "\n".join(host.daemon.text for host in self.hosts)

    def page(self, port: int, path: str = "") -> Page:
        page = Page(port, path)
        self._open.callback(page.close)
        return page

    @property
    def _environment(self) -> dict[str, str]:
        """Of a process beside the gateways."""
        return self.environment | {"GATEWAY_CONFIG": str(self.folder / "gateway.yaml")}

    def python(self, *arguments: str) -> None:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=50, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    @contextlib.contextmanager
    def celery(self) -> Iterator[None]:
        """Celery's worker, with the tasks of :data:`CELERY`."""
        (queue := self.folder / "celery").mkdir()
        module = self.folder / "tellers.py"
        module.write_text(CELERY.replace("FOLDER", repr(str(queue))))
        command = [sys.executable, "-m", "celery", "--app", "tellers", "worker", "--concurrency", "2"]
        with subprocess.Popen(command, env=self._environment, cwd=self.folder, stderr=subprocess.DEVNULL) as worker:
            try:
                self.python(str(module))
                yield
            finally:
                worker.terminate()

    def tell_all_ways(self, *pages: Page) -> None:
        """Let every kind of code send, and wait until all pages have each message once."""
        first, second = self.hosts[0], self.hosts[-1]
        first.publish("reading")
        httpx.get(f"http://127.0.0.1:{second.web}/tell/view", timeout=20).raise_for_status()
        self.python("-m", "django", "tell", "command1", "command2")
        self.python("-c", PREFORK)
        marks = [
            "reading",
            "view",
            "command1",
            "command2",
            "parent",
            "child1",
            "child2",
            "child3",
            "celery1",
            "celery2",
        ]
        with self.celery():
            for page in (*self.pages, *pages):
                until(
                    lambda page=page: sorted(page.marks) == sorted(marks),
                    lambda page=page: f"{page.marks}\n{self.text}",
                )


@contextlib.contextmanager
def uvicorn(hosts: Hosts) -> Iterator[int]:
    """Yield the port of another web server, with a consumer of Channels and the layer of the gateway's file."""
    port = free_port()
    environment = os.environ | hosts.environment | {"GATEWAY_CONFIG": str(hosts.folder / "gateway.yaml")}
    command = [sys.executable, "-c", UVICORN.format(port=port)]
    with subprocess.Popen(command, env=environment, cwd=hosts.folder) as process:
        try:
            until(lambda: process.poll() is not None or Site.accepts(port), "uvicorn listens")
            yield port
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_process() as server:
        yield server


def test_ipc_and_the_relay_is_killed(tmp_path: Path) -> None:
    with Hosts(tmp_path, "ipc") as hosts:
        hosts.tell_all_ways(hosts.page(hosts.hosts[0].web, "channels"))
        first, second = hosts.hosts
        assert first.ready() == second.ready() == (200, {"state": "ready", "detail": "", "required": True})
        assert (first.metric("gateway_layer_connected"), first.metric("gateway_layer_groups")) == (1, 1)
        assert "this process relays" in first.daemon.text
        first.daemon.process.kill()
        until(lambda: "this process relays" in second.daemon.text, lambda: second.daemon.text)
        hosts.python("-m", "django", "tell", "after")
        until(lambda: hosts.pages[1].marks[-1] == "after", lambda: hosts.text)
        assert second.metric("gateway_layer_interruptions_total") == 1
        assert second.metric("gateway_layer_messages_missed_total") == 0


@pytest.mark.parametrize("options", ["", "&layer=core"])
def test_redis_goes_away_and_comes_back(options: str, redis: RedisServer, tmp_path: Path) -> None:
    with Hosts(tmp_path, f"{redis.layer}?prefix=t{len(options)}{options}") as hosts:
        hosts.tell_all_ways(hosts.page(hosts.hosts[1].web, "channels"))
        host = hosts.hosts[0]
        assert host.ready()[0] == 200
        redis.kill()
        until(lambda: host.ready()[0] == 503, lambda: hosts.text)
        assert (host.ready()[1]["state"], host.ready()[1]["required"]) == ("unavailable", True)
        assert str(redis.path) in str(host.ready()[1]["detail"])
        redis.start()
        until(lambda: all(each.ready()[0] == 200 for each in hosts.hosts), lambda: hosts.text)
        hosts.hosts[1].publish("after")
        until(lambda: hosts.pages[0].marks[-1] == "after", lambda: hosts.text)


def test_a_second_web_server_has_the_groups_of_the_gateways(tmp_path: Path) -> None:
    with Hosts(tmp_path, "ipc") as hosts, uvicorn(hosts) as port:
        page = hosts.page(port)
        hosts.tell_all_ways(page)
        page.close()


def test_the_layer_of_django_s_settings(redis: RedisServer, tmp_path: Path) -> None:
    theirs = {"default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [redis.url]}}}
    with Hosts(tmp_path, "django", theirs) as hosts:
        hosts.tell_all_ways(hosts.page(hosts.hosts[0].web, "channels"))


def test_the_page_s_two_gateways(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "layers.md").read_text()
    for name in ("gateway.yaml", "chat.py"):
        found = re.search(rf"```\w+\n(# {name}\n.*?)```", page, re.DOTALL)
        assert found is not None
        (tmp_path / name).write_text(found[1])
    ports = [free_port(), free_port()]
    with contextlib.ExitStack() as stack:
        daemons, pages = [], []
        for port in ports:
            daemons.append(Daemon(tmp_path, PORT=str(port)))
            stack.callback(daemons[-1].close)
            daemons[-1].says(f"127.0.0.1:{port}")
            pages.append(stack.enter_context(connect(f"ws://127.0.0.1:{port}/")))
        pages[0].send("hello")
        assert [peer.recv(20) for peer in pages] == ["hello", "hello"]
        daemons[0].close()
        pages[1].send("alone")
        assert pages[1].recv(20) == "alone"


def test_the_parent_of_workers_relays_and_a_worker_that_is_killed_interrupts_no_group(tmp_path: Path) -> None:
    with Hosts(tmp_path, "ipc", workers=2) as hosts:
        hosts.tell_all_ways()
        (host,) = hosts.hosts
        assert "this process relays" not in host.daemon.text, "no worker does"
        (path,) = tmp_path.rglob("*.layer.sock")
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(path))
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while stranger.recv(100):
                    pass
        until(lambda: host.metric('gateway_layer_messages_dropped_total{reason="garbage"}') == 1, lambda: hosts.text)
        children = subprocess.run(
            ["pgrep", "-P", str(host.daemon.process.pid)], capture_output=True, text=True, check=True
        )
        os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
        hosts.pages.append(hosts.page(host.web))  # all others may have been in the worker that is gone
        hosts.python("-m", "django", "tell", "after")
        until(lambda: any("after" in page.marks for page in hosts.pages), lambda: hosts.text)
        assert host.metric("gateway_layer_interruptions_total") == 0
