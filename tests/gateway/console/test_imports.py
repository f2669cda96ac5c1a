"""The first requests import what they need on threads: the event loop goes on meanwhile."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from servers.gateway_process import GatewayProcess
from servers.ports import free_port
from servers.site import until

from gateway.control.client import Conversation
from protocols.access.users import hash_password

HANDLERS = """
import asyncio
import sys
from pathlib import Path

from gateway import AsyncHttpConsumer


class Watch:
    def find_spec(self, name, path=None, target=None):
        if asyncio._get_running_loop() is not None:
            with Path("imported").open("a") as file:
                print(name, file=file)


sys.meta_path.insert(0, Watch())


class Web(AsyncHttpConsumer):
    async def handle(self, body):
        import colorsys

        await self.respond(b"ok")
"""
FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:{web}"}}}}
routes: {{http: {{app: watched_handlers.Web}}}}
store: sqlite:gateway.db
console: {{bind: "127.0.0.1:{port}", users: {{ann: '{hashed}'}}}}
"""


class Watched:
    def __init__(self, folder: Path) -> None:
        self.port, self.web = free_port(), free_port()
        text = FILE.format(port=self.port, web=self.web, hashed=hash_password(b"right"))
        self.folder = folder
        self.process = GatewayProcess(folder, "watched_handlers", HANDLERS, text)
        self.process.start()
        until(lambda: "ready" in self.process.output(), self.process.output)

    def imported(self) -> list[str]:
        """What has been imported on the event loop."""
        file = self.folder / "imported"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    site = Watched(tmp_path)
    try:
        yield site
    finally:
        assert site.process.stop(signal.SIGTERM) == 0


def test_no_request_imports_anything_on_the_event_loop(watched: Watched) -> None:
    before = watched.imported()
    with httpx.Client(base_url=f"http://127.0.0.1:{watched.port}", timeout=20) as client:
        assert client.get("/readyz").status_code == 200
        assert client.post("/api/login", json={"username": "ann", "password": "wrong"}).status_code == 401
        assert client.post("/api/login", json={"username": "ann", "password": "right"}).status_code == 200
        assert client.get("/metrics").status_code == 200
        for path, methods in client.get("/api/openapi.json").json()["paths"].items():
            if "get" in methods and "{" not in path and "text/event-stream" not in str(methods["get"]["responses"]):
                assert client.get(path).status_code in (200, 400), path
        assert client.post("/api/outgoing/ring", json={}).status_code == 200
        with client.stream("GET", "/api/arrivals?follow=true") as stream:
            assert stream.status_code == 200
        assert client.get("/api/nothing").status_code == 404
    assert watched.imported() == before
    httpx.get(f"http://127.0.0.1:{watched.web}", timeout=20)
    assert "colorsys" in watched.imported(), "what a handler imports is seen"


def test_no_command_imports_anything_on_the_event_loop(watched: Watched) -> None:
    before = watched.imported()
    with Conversation([watched.folder / "gateway.db"], {"do": "status"}) as conversation:
        [answer] = conversation.answers()
    assert answer["servers"]
    assert watched.imported() == before
