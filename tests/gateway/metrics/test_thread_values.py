"""Threads of sync handlers, and the channel layer, while real clients keep them busy."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from servers.daemon import in_background
from servers.measured import Measured
from servers.site import until
from websockets.sync.client import connect

LIMIT = 15.0
FILE = """
servers: {web: {protocol: http, bind: "127.0.0.1:PORT_web"}}
routes:
  http: [{path: "^ask", app: handlers.ask}, {path: "^", app: handlers.Page}]
  websocket: handlers.Chat
threads: 2
log: {level: error}
"""
HANDLERS = """
import asyncio, time
from pathlib import Path
from gateway import AsyncWebsocketConsumer, HttpConsumer, layer_event
from gateway.aio import group_send

class Page(HttpConsumer):
    def handle(self, body):
        while not Path("go").exists():
            time.sleep(0.02)
        self.respond("hello")

async def ask(scope, receive, send):
    for number in range(int(scope["query_string"])):
        await group_send("chat", {"type": "told", "number": number})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})

class Chat(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.group_add("chat")
        await self.accept()

    @layer_event("told")
    async def told(self, event):
        while not Path("read").exists():
            await asyncio.sleep(0.02)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Measured]:
    running = Measured(tmp_path, FILE, HANDLERS)
    yield running
    running.close()


def test_two_threads_for_five_requests(site: Measured) -> None:
    assert site.number("gateway_threads") == 2
    answers: list[str] = []
    asked: list[threading.Thread] = [in_background(site.url("web"), answers) for _ in range(5)]
    site.becomes(2, "gateway_threads_busy")
    site.becomes(3, "gateway_threads_calls_waiting")
    assert site.number("gateway_in_flight", server="web", type="http") == 5
    (site.folder / "go").touch()
    for each in asked:
        each.join(LIMIT)
    assert answers == ["hello"] * 5
    site.becomes(0, "gateway_threads_busy")
    assert site.number("gateway_threads_calls_waiting") == 0
    assert site.number("gateway_threads_wait_seconds_count") == 5
    assert site.number("gateway_threads_wait_seconds_bucket", le="0.01") <= 2, "three have waited for the scrapes above"
    assert site.number("gateway_threads_wait_seconds_sum") > 3 * 0.01


def test_a_channel_that_is_not_read_in_time(site: Measured) -> None:
    """It takes a hundred messages, beside those that its reader has taken and works on."""
    with ExitStack() as opened:
        for number in range(2):
            opened.enter_context(connect(f"ws://127.0.0.1:{site.port['web']}/", open_timeout=LIMIT))
            site.becomes(number + 1, "gateway_layer_channels")
        httpx.get(site.url("web", "/ask?40"), timeout=LIMIT)
        site.passes(2 * (40 - 2), "gateway_layer_unread_messages")
        taken = 2 * 40 - site.number("gateway_layer_unread_messages")
        assert taken > 0
        assert site.number("gateway_layer_messages_dropped_total", reason="capacity") == 0
        httpx.get(site.url("web", "/ask?100"), timeout=LIMIT)
        site.becomes(2 * 40 - taken, "gateway_layer_messages_dropped_total", reason="capacity")
        assert site.number("gateway_layer_unread_messages") == 2 * 100
        (site.folder / "read").touch()
        site.becomes(0, "gateway_layer_unread_messages")
        assert site.number("gateway_layer_messages_dropped_total", reason="capacity") == 2 * 40 - taken
    until(lambda: site.number("gateway_layer_channels") == 0, "both have left")
