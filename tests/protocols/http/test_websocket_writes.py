"""Messages that an application sends in one turn of the loop go out together, and in their order."""

import asyncio
from typing import Any, cast

import pytest
from contract import LIMIT, transport_of
from http_peer import serving
from waiting import until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from protocols.http.connection import HTTPConnection

SHORT, LONG = 100, 200_000
"""Characters of messages."""


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what each connection of ours gives its transport at once."""
    sizes: list[int] = []
    write = HTTPConnection.write

    def noted(connection: HTTPConnection, data: bytes) -> None:
        write(connection, data)
        sizes.append(len(data))

    monkeypatch.setattr(HTTPConnection, "write", noted)
    return sizes


async def dial(address: str, **options: Any) -> ClientConnection:
    return await connect(f"ws://{address}/", compression=None, max_size=None, **options)


async def everything(peer: ClientConnection) -> list[Any]:
    """What comes until the peer is closed."""
    found = []
    async with asyncio.timeout(LIMIT):
        try:
            while True:
                found.append(await peer.recv())
        except ConnectionClosed:
            return found


async def test_what_is_sent_in_one_turn_is_written_at_once(written: list[int]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        for number in range(100):
            await send({"type": "websocket.send", "text": str(number)})
        await receive()

    async with serving(app) as server:
        peer = await dial(server.address)
        written.clear()
        await peer.send("go")
        assert [await peer.recv() for _ in range(100)] == [str(number) for number in range(100)]
        assert written == [2 * 10 + 90 * 2 + 10 + 90 * 2]  # heads of two bytes, and the digits
        await peer.close()


async def test_long_and_short_messages_pings_and_the_close_keep_their_order() -> None:
    sent = [str(n) * (LONG if n % 5 == 0 else SHORT) for n in range(1, 40)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        for each in sent:
            await send({"type": "websocket.send", "text": each})
        await send({"type": "websocket.close", "code": 4001, "reason": "done"})

    async with serving(app) as server:
        peer = await dial(server.address)
        await peer.send("go")
        assert await everything(peer) == sent
        assert (peer.close_code, peer.close_reason) == (4001, "done")


async def test_a_pong_comes_behind_what_was_sent_before_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})

    async with serving(app) as server:
        peer = await dial(server.address)
        for number in range(50):
            await peer.send(str(number))
        async with asyncio.timeout(LIMIT):
            await (await peer.ping())
        assert [await peer.recv() for _ in range(50)] == [str(number) for number in range(50)]
        await peer.close()


@pytest.mark.parametrize("ends", ["returns", "crashes"])
async def test_what_is_sent_last_arrives_when_the_application_ends(ends: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "last words"})
        if ends == "crashes":
            raise RuntimeError("at the end")

    async with serving(app) as server:
        peer = await dial(server.address)
        assert await everything(peer) == ["last words"]


async def test_little_waits_for_the_end_of_a_turn_and_a_slow_peer_holds_back(written: list[int]) -> None:
    reached = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal reached
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        while reached < 100_000:
            await send({"type": "websocket.send", "bytes": b"x" * 1000})
            reached += 1

    async with serving(app) as server:
        peer = await dial(server.address, max_queue=1)
        written.clear()
        await peer.send("go")
        transport_of(peer).pause_reading()
        await until(lambda: any(cast("HTTPConnection", each).is_full for each in server.service.connections))
        assert reached < 20_000
        assert max(written) < 70_000
        transport_of(peer).abort()
