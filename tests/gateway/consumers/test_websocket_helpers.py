"""The helpers of WebSocket consumers, as the client of somebody else sees them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateway import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, JsonWebsocketConsumer, WebsocketConsumer
from protocols.http.server import HTTPServer, HTTPSettings


@contextlib.asynccontextmanager
async def dialled(consumer: Any, **options: Any) -> AsyncIterator[ClientConnection]:
    made = HTTPServer(consumer.as_asgi(), HTTPSettings(bind="127.0.0.1:0"))
    async with asyncio.timeout(20), made as server, connect(f"ws://{server.address}/", **options) as peer:
        yield peer


class Dated:
    """Messages are lists with a date in ISO's form."""

    @classmethod
    def encode_json(cls, content: Any) -> str:
        return json.dumps(content, default=date.isoformat)

    @classmethod
    def decode_json(cls, text: str) -> Any:
        return [date.fromisoformat(each) for each in json.loads(text)]


class Plain(JsonWebsocketConsumer):
    def receive_json(self, content: Any) -> None:
        self.send_json({"got": content})


class AsyncPlain(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any) -> None:
        await self.send_json({"got": content})


class SyncDates(Dated, Plain): ...


class AsyncDates(Dated, AsyncPlain): ...


@pytest.mark.parametrize("consumer", [Plain, AsyncPlain])
async def test_a_message_that_is_not_json_closes_the_connection(consumer: Any) -> None:
    for wrong, code in (("{", 1007), ("[" * 100_000, 1007), ("Infinity", 1007), (b"{}", 1003)):
        async with dialled(consumer) as peer:
            await peer.send('["ok", null, 1.5]')
            assert await peer.recv() == '{"got": ["ok", null, 1.5]}'
            await peer.send(wrong)
            with pytest.raises(ConnectionClosed) as closed:
                await peer.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code


@pytest.mark.parametrize("consumer", [SyncDates, AsyncDates])
async def test_a_class_may_read_and_write_json_in_its_own_way(consumer: Any) -> None:
    async with dialled(consumer) as peer:
        await peer.send('["2026-11-30"]')
        assert await peer.recv() == '{"got": ["2026-11-30"]}'
        await peer.send('["30 November"]')
        with pytest.raises(ConnectionClosed) as closed:
            await peer.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1007


class Accepting(WebsocketConsumer):
    def connect(self, message: Any) -> None:
        self.set_cookie("seen", "1")
        self.accept("b", {"x-room": "red"})


class AsyncAccepting(AsyncWebsocketConsumer):
    async def connect(self, message: Any) -> None:
        self.set_cookie("seen", "1")
        await self.accept(subprotocol=self.scope["subprotocols"][1], headers=[(b"x-room", b"red")])


@pytest.mark.parametrize("consumer", [Accepting, AsyncAccepting])
async def test_an_accepted_peer_gets_a_subprotocol_headers_and_cookies(consumer: Any) -> None:
    async with dialled(consumer, subprotocols=[Subprotocol("a"), Subprotocol("b")]) as peer:
        assert peer.response is not None
        headers = peer.response.headers
        assert (peer.subprotocol, headers["x-room"]) == ("b", "red")
        assert headers["set-cookie"] == "seen=1; Path=/; SameSite=Lax; HttpOnly"
