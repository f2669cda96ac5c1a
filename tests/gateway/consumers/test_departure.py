"""A handler that runs for long does not hold up ``disconnect``: it is called beside it, on real connections."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from own_services import installed
from test_disconnect import AsyncDevice, Story, SyncDevice, broker, device, dial, idle, publish, serving
from waiting import until
from websockets.asyncio.client import connect as websocket

from gateway import (
    AsyncHttpConsumer,
    AsyncWebsocketConsumer,
    Consumer,
    HttpConsumer,
    InMemoryChannelLayer,
    TopicRouter,
    URLRouter,
    WebsocketConsumer,
    default,
    get_channel_layer,
    layer_event,
    topic,
    url,
)
from gateway.layers import channel_layer


@pytest.fixture
def story() -> Iterator[Story]:
    made = Story()
    yield made
    made.go_on.set()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Consumer, "disconnect_wait", 0.01)


@pytest.fixture(autouse=True)
def _layer() -> Iterator[None]:
    with installed({channel_layer: InMemoryChannelLayer()}):
        yield


class Soon:
    def __init__(self, story: Story, waits: bool = False) -> None:
        self.story = story
        self.waits = waits


class AsyncSocket(Soon, AsyncWebsocketConsumer):
    async def connect(self, message: Any) -> None:
        await self.group_add("all")
        await self.accept()

    async def receive(self, text: str) -> None:  # type: ignore[override]
        self.story.running.set()
        await until(self.story.go_on.is_set)
        self.story.tell((text, self.is_disconnected))

    async def disconnect(self, code: int) -> None:
        if self.waits:
            self.story.tell("waits")
            await self.wait_for_handlers()
        self.story.tell(code)

    @layer_event("x")
    async def on_x(self, event: Any) -> None:
        self.story.tell("of the group")


class SyncSocket(Soon, WebsocketConsumer):
    def connect(self, message: Any) -> None:
        self.group_add("all")
        self.accept()

    def receive(self, text: str) -> None:  # type: ignore[override]
        self.story.running.set()
        assert self.story.go_on.wait(5)
        self.story.tell((text, self.is_disconnected))

    def disconnect(self, code: int) -> None:
        if self.waits:
            self.story.tell("waits")
            self.wait_for_handlers()
        self.story.tell(code)

    @layer_event("x")
    def on_x(self, event: Any) -> None:
        self.story.tell("of the group")


SOCKETS: dict[str, Any] = {"async": AsyncSocket, "sync": SyncSocket}


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("form", SOCKETS)
async def test_the_disconnect_is_called_while_a_handler_runs_and_what_was_sent_is_handled_after_it(
    form: str, routed: bool, story: Story
) -> None:
    consumer = SOCKETS[form].as_asgi(story=story)
    async with serving(URLRouter([url("", consumer)]) if routed else consumer) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            for text in "ab":
                await peer.send(text)
            await until(story.running.is_set)
            assert get_channel_layer()._groups  # type: ignore[attr-defined]
            await peer.close(4321)
        await until(lambda: story.told == [4321])
        await until(lambda: not get_channel_layer()._groups)  # type: ignore[attr-defined]
        assert server.active()["websocket"] == 1  # its handler still runs
        story.go_on.set()
        await idle(server)
    assert story.told == [4321, ("a", True), ("b", True)]


@pytest.mark.parametrize("form", SOCKETS)
async def test_the_disconnect_may_wait_for_the_handlers(form: str, story: Story) -> None:
    async with serving(SOCKETS[form].as_asgi(story=story, waits=True)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            for text in "ab":
                await peer.send(text)
            await until(story.running.is_set)
            await peer.close(4321)
        await until(lambda: story.told == ["waits"])
        story.go_on.set()
        await idle(server)
    assert story.told == ["waits", ("a", True), ("b", True), 4321]


async def test_a_group_that_is_joined_after_the_disconnect_is_left(story: Story) -> None:
    class Late(AsyncSocket):
        async def receive(self, text: str) -> None:  # type: ignore[override]
            await super().receive(text)
            await self.group_add("late")
            self.story.tell(list(get_channel_layer()._groups))  # type: ignore[attr-defined]

    async with serving(Late.as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("a")
            await until(story.running.is_set)
            await peer.close()
        await until(lambda: not get_channel_layer()._groups)  # type: ignore[attr-defined]
        story.go_on.set()
        await idle(server)
    assert story.told == [1000, ("a", True), ["late"]]
    assert not get_channel_layer()._groups  # type: ignore[attr-defined]


async def test_a_group_that_a_thread_joins_after_the_run_is_left_at_once(story: Story) -> None:
    """A thread cannot be interrupted: it calls ``disconnect`` when it is done with its handler."""

    class Late(SyncSocket):
        def disconnect(self, code: int) -> None:
            self.group_add("late")
            super().disconnect(code)

    layer = get_channel_layer()
    assert isinstance(layer, InMemoryChannelLayer)
    async with serving(Late.as_asgi(story=story)) as server, websocket(f"ws://{server.address}/") as peer:
        await peer.send("a")
        await until(story.running.is_set)
        await layer.group_send("all", {"type": "x"})
        await server.stop(0)
        await until(lambda: layer.groups == 0)
        story.go_on.set()
        await until(lambda: len(story.told) == 2)
        await until(lambda: (layer.groups, layer.channels) == (0, 0))


async def test_a_message_of_the_group_is_not_handled_after_the_disconnect(story: Story) -> None:
    async with serving(AsyncSocket.as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("a")
            await until(story.running.is_set)
            await get_channel_layer().group_send("all", {"type": "x"})
            await peer.close()
        await until(lambda: story.told == [1000])
        story.go_on.set()
        await idle(server)
    assert story.told == [1000, ("a", True)]


async def test_a_class_can_keep_the_order(story: Story) -> None:
    class InOrder(AsyncSocket):
        disconnect_wait = None

    async with serving(InOrder.as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("a")
            await until(story.running.is_set)
            await peer.close()
        story.go_on.set()
        await idle(server)
    assert story.told == [("a", True), 1000]


class AsyncPage(Soon, AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        self.story.running.set()
        await until(self.story.go_on.is_set)
        await self.respond("late")
        self.story.tell(self.is_disconnected)

    async def disconnect(self) -> None:
        self.story.tell("disconnect")


class SyncPage(Soon, HttpConsumer):
    def handle(self, body: bytes) -> None:
        self.story.running.set()
        assert self.story.go_on.wait(5)
        self.respond("late")
        self.story.tell(self.is_disconnected)

    def disconnect(self) -> None:
        self.story.tell("disconnect")


@pytest.mark.parametrize("wait", [0.01, None])
@pytest.mark.parametrize("page", [AsyncPage, SyncPage])
async def test_a_client_that_leaves_before_its_answer(
    page: Any, wait: float | None, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``disconnect`` is called once, before or after the answer, which does not reach the peer."""
    monkeypatch.setattr(page, "disconnect_wait", wait)
    async with serving(page.as_asgi(story=story)) as server:
        async with dial(server) as (_, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(story.running.is_set)
            reset = struct.pack("ii", 1, 0)  # a FIN alone may come from a peer that waits for its answer
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            writer.transport.abort()
        if wait is not None:
            await until(lambda: story.told == ["disconnect"])
        else:
            await until(lambda: not list(server.clients()))
        story.go_on.set()
        await idle(server)
    assert story.told == (["disconnect", True] if wait is not None else [True, "disconnect"])


@pytest.mark.parametrize("base", [AsyncDevice, SyncDevice])
@pytest.mark.parametrize("routed", [False, True])
async def test_a_device_that_leaves_during_a_long_handler(base: Any, routed: bool, story: Story) -> None:
    consumer = base.as_asgi(story=story)
    app = TopicRouter([topic("t", consumer), default(AsyncDevice.as_asgi(story=Story()))]) if routed else consumer
    async with broker(app) as server:
        async with device(server, "d") as (_, writer):
            writer.write(publish(b"t", b"1") + publish(b"t", b"2") + b"\xe0\0")
            await until(story.running.is_set)
        await until(lambda: ("disconnect", True) in story.told)
        assert story.told == [b"1", ("disconnect", True)]
        story.go_on.set()
        await idle(server)
    assert story.told == [b"1", ("disconnect", True), b"2"]


async def test_a_disconnect_that_raises_beside_a_handler_is_one_record(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(AsyncSocket):
        async def disconnect(self, code: int) -> None:
            self.story.tell(code)
            raise ValueError("of the project")

    async with serving(Failing.as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("a")
            await until(story.running.is_set)
            await peer.close()
        await until(lambda: story.told == [1000])
        story.go_on.set()
        await idle(server)
    assert story.told == [1000, ("a", True)]
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_a_disconnect_that_exits_beside_a_handler_ends_nothing_else(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    class Exiting(AsyncSocket):
        async def disconnect(self, code: int) -> None:
            self.story.tell(code)
            raise SystemExit(1)

    async with serving(Exiting.as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("a")
            await until(story.running.is_set)
            await peer.close()
        await until(lambda: story.told == [1000])
        story.go_on.set()
        await idle(server)
    assert story.told == [1000, ("a", True)]
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["websocket /: disconnect"]


async def test_a_disconnect_is_called_once_if_a_handler_fails_while_its_peer_leaves(story: Story) -> None:
    """What the handler awaits is cancelled by other code, so that the consumer looks for the disconnect."""

    class Failing(AsyncSocket):
        async def receive(self, text: str) -> None:  # type: ignore[override]
            self.story.running.set()
            cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled

        async def disconnect(self, code: int) -> None:
            self.story.tell(code)
            await until(self.story.go_on.is_set)

    async with serving(Failing.as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("a")
            await until(story.running.is_set)
            peer.transport.abort()
            await until(lambda: bool(story.told))
            await asyncio.sleep(5 * 0.01)  # longer than a handler may run
        story.go_on.set()
        await idle(server)
    assert len(story.told) == 1


async def test_a_run_that_is_cancelled_cancels_its_disconnect_too(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disconnect that never returns holds the run up no longer than it would without a handler."""
    monkeypatch.setattr("gateway.consumers.base.CLEAN_UP", 0.05)
    monkeypatch.setattr("protocols.http.websocket.WebSocket.disconnect_grace", 0.1)

    class Endless(AsyncSocket):
        async def disconnect(self, code: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.story.tell("cancelled")

    async with serving(Endless.as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("a")
            await until(story.running.is_set)
            await peer.close()
        await until(lambda: "cancelled" in story.told)
        await idle(server)
