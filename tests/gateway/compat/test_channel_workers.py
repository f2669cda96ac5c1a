"""``gateway.compat.channels`` on a real server: workers in the gateway's process, and what differs from Channels."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from own_services import installed
from waiting import until
from websockets.asyncio.client import connect as websocket

from gateway import InMemoryChannelLayer
from gateway.compat.channels import (
    AsyncConsumer,
    AsyncHttpConsumer,
    AsyncWebsocketConsumer,
    ChannelNameRouter,
    ProtocolTypeRouter,
    SyncConsumer,
    Worker,
    get_channel_layer,
)
from gateway.layers import channel_layer
from protocols.http.server import HTTPServer, HTTPSettings


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[HTTPServer]:
    async with asyncio.timeout(20), HTTPServer(app, HTTPSettings(bind="127.0.0.1:0")) as server:
        yield server


async def idle(server: HTTPServer) -> None:
    await until(lambda: not sum(server.active().values()))


class Work(AsyncConsumer):
    async def work_start(self, message: dict[str, Any]) -> None:
        if message["number"] == 13:
            raise ValueError("unlucky")
        await get_channel_layer().group_send("pages", {"type": "work.done", "number": message["number"] * 2})


class SyncWork(SyncConsumer):
    def work_start(self, message: dict[str, Any]) -> None:
        self.group_send("pages", {"type": "work.done", "number": -message["number"]})


class Page(AsyncWebsocketConsumer):
    groups = ["pages"]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        assert text_data is not None
        channel, _, number = text_data.partition(" ")
        await get_channel_layer().send(channel, {"type": "work.start", "number": int(number)})

    async def work_done(self, message: dict[str, Any]) -> None:
        await self.send(str(message["number"]))


async def test_the_gateway_works_for_the_channels_of_its_router(caplog: pytest.LogCaptureFixture) -> None:
    app = ProtocolTypeRouter(
        {
            "websocket": Page.as_asgi(),
            "channel": ChannelNameRouter({"double": Work.as_asgi(), "negative": SyncWork}),
        }
    )
    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        async with serving(app) as server:
            async with websocket(f"ws://{server.address}/") as peer:
                for sent in ("double 4", "negative 4", "double 13", "double 5"):
                    await peer.send(sent)
                    if sent != "double 13":
                        assert await peer.recv() in ("8", "-4", "10")
            await idle(server)
        assert layer.groups == 0
        await layer.send("double", {"type": "work.start", "number": 1})
        await asyncio.sleep(0)
        assert layer.unread == 1  # the worker has ended with the server
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == "channel double"
    assert record.exc_info
    assert str(record.exc_info[1]) == "unlucky"


async def test_a_worker_runs_by_itself_until_it_is_cancelled() -> None:
    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        await layer.group_add("pages", "reader")
        worker = asyncio.ensure_future(Worker(Work.as_asgi(), ["a", "b"]).run())
        for channel, number in (("a", 1), ("b", 2)):
            await layer.send(channel, {"type": "work.start", "number": number})
        async with asyncio.timeout(5):
            assert sorted([(await layer.receive("reader"))["number"] for _ in range(2)]) == [2, 4]
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker


async def test_a_message_of_the_layer_calls_the_methods_of_the_project_only(caplog: pytest.LogCaptureFixture) -> None:
    class Own(Page):
        """One of its own: the log tells such a message once in ten seconds for each class."""

    layer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        async with serving(Own.as_asgi()) as server, websocket(f"ws://{server.address}/") as peer:
            await until(lambda: layer.groups == 1)
            for kind in ("close", "websocket.receive", "disconnect", "_emit", "scope", "unknown"):
                await layer.group_send("pages", {"type": kind, "text": "x"})
            await layer.group_send("pages", {"type": "work.done", "number": 1})
            assert await peer.recv() == "1"
            assert peer.close_code is None
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 6
    assert all("no @layer_event method for" in line for line in told)


async def test_a_request_without_an_answer_is_a_500() -> None:
    class Silent(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None: ...

    async with serving(Silent.as_asgi()) as server, httpx.AsyncClient() as client:
        assert (await client.get(f"http://{server.address}/")).status_code == 500


async def test_a_slow_handler_does_not_hold_up_the_disconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AsyncWebsocketConsumer, "disconnect_wait", 0.01)
    told: list[Any] = []
    go_on = asyncio.Event()

    class Slow(AsyncWebsocketConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            await go_on.wait()
            told.append(text_data)

        async def disconnect(self, code: int) -> None:
            told.append(code)

    async with serving(Slow.as_asgi()) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("a")
            await peer.close(4000)
        await until(lambda: told == [4000])
        go_on.set()
        await idle(server)
    assert told == [4000, "a"]
