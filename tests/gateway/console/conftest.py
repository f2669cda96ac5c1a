"""A gateway in the test's process, with a console that answers over real HTTP."""

import importlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import services
from gateway.arrivals import arrivals
from gateway.config.loader import parse
from gateway.console.here import Here
from gateway.console.http.app import Interface
from gateway.control.recent import Recent
from gateway.runtime.build import build
from gateway.runtime.running import RunningGateway
from gateway.store import Store

HANDLERS = """
from gateway import AsyncHttpConsumer, AsyncMqttConsumer, EmailConsumer

class Web(AsyncHttpConsumer):
    async def handle(self, body):
        await self.respond(b"ok")

class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        pass

class Desk(EmailConsumer):
    def receive(self, message):
        raise KeyError("order")
"""
FILE = """
servers:
  web: {{protocol: http, bind: "127.0.0.1:0"}}
  devices: {{protocol: mqtt, bind: "127.0.0.1:0", anonymous: true}}
  mail: {{protocol: smtp, bind: "127.0.0.1:0"}}
routes:
  http: console_page_handlers.Web
  mqtt: console_page_handlers.Device
  email: {{app: console_page_handlers.Desk, inbox: true, attempts: 1}}
console: {{bind: "{bind}"{console}}}
{more}
"""


class Site:
    """The gateway, and a client of its console."""

    def __init__(self, running: RunningGateway, here: Here) -> None:
        self.running = running
        self.here = here
        assert running.gateway.console is not None
        self.console = running.gateway.console
        self.client = self.new_client()

    def new_client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://{self.console.address}", timeout=20, **options)

    @property
    def cookie(self) -> str:
        """The name of the cookie of its sessions."""
        return f"gateway_session_{self.console.address.rpartition(':')[2]}"

    def server(self, name: str) -> str:
        """The address of one of its servers."""
        return self.running.gateway.servers.named(name).address

    @property
    def store(self) -> Store:
        dispatcher = self.running.gateway.dispatcher
        assert dispatcher is not None
        return dispatcher.deliveries.store

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def post(self, path: str, data: Any = None, **headers: str) -> httpx.Response:
        return await self.client.post(path, json={} if data is None else data, headers=headers)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what runs such a gateway: ``async with site() as here``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "console_page_handlers.py").write_text(HANDLERS)
    monkeypatch.delitem(sys.modules, "console_page_handlers", raising=False)
    importlib.invalidate_caches()

    @asynccontextmanager
    async def run(*, bind: str = "127.0.0.1:0", console: str = "", more: str = "") -> AsyncIterator[Site]:
        text = FILE.format(bind=bind, console=f", {console}" if console else "", more=more)
        gateway = build(parse(text, name="gateway.yaml", folder=tmp_path))
        running, recent = RunningGateway(gateway), Recent()
        here = Here(lambda: running.gateway, recent)
        before = services.install(gateway.services)
        assert gateway.console is not None
        assert gateway.settings.console is not None
        interface = Interface(here, gateway.settings.console, gateway.console.console)
        gateway.console.console.interface = lambda console: interface
        try:
            await running.start()
            made = Site(running, here)
            async with made.client:
                yield made
        finally:
            await running.abort()
            services.install(before)
            assert not gateway.services[arrivals].audience.listeners

    return run
