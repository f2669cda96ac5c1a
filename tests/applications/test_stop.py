"""SIGTERM while clients are there: applications hear of it and clean up, and nothing waits for what never ends."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from raw import Peer, dial
from served import Served

GRACE = 10.0
"""Seconds that the gateway gives to what is in flight."""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Served]:
    made = Served("gateway", tmp_path)
    made.start()
    made.wait()
    yield made
    made.close()


async def open_streams(stack: AsyncExitStack, port: int) -> None:
    """Event streams, one of them silent; and WebSockets whose peers do not answer a close."""

    async def dialled() -> Peer:
        return await stack.enter_async_context(dial(port))

    for path in ("/starlette/events", "/starlette/quiet", "/gzip/events"):
        peer = await dialled()
        await peer.ask(path)
        assert (await peer.head()).status == 200
    for path in ("/starlette/echo", "/django/chat", "/django/sync-chat", "/socketio/?EIO=4&transport=websocket"):
        peer = await dialled()
        assert (await peer.upgrade(path)).status == 101


def test_what_would_never_end_ends_at_once(gateway: Served) -> None:
    async def visit() -> float:
        async with AsyncExitStack() as stack:
            await open_streams(stack, gateway.port)
            return await asyncio.to_thread(gateway.stop)

    took = asyncio.run(visit())
    assert sorted(mark.what for mark in gateway.marks()) == [
        "chat disconnect",
        "echo left with nothing",
        "events finally",
        "events finally",
        "quiet finally",
        "sync chat disconnect",
    ]
    assert gateway.records() == []
    assert took < GRACE / 2
