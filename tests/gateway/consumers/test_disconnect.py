"""``disconnect`` is called once, however a connection ends and whatever the handler was doing, on real connections."""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from conversation import Conversation, scope
from own_services import installed, threads
from waiting import until
from websockets.asyncio.client import connect as websocket

from gateway import (
    AsyncConsumer,
    AsyncHttpConsumer,
    AsyncMqttConsumer,
    AsyncWebsocketConsumer,
    HttpConsumer,
    InMemoryChannelLayer,
    MqttConsumer,
    TopicRouter,
    WebsocketConsumer,
    default,
    get_channel_layer,
    layer_event,
    topic,
)
from gateway.consumers import base
from gateway.layers import channel_layer
from protocols.errors import Disconnected
from protocols.http.server import HTTPServer, HTTPSettings
from protocols.http.websocket import WebSocket
from protocols.mqtt.server import MQTTServer, MQTTSettings
from protocols.server import Server

LIMIT = 5.0


class Story:
    """What a consumer has gone through, from whichever thread it tells."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.running = threading.Event()
        """A handler is at work."""
        self.go_on = threading.Event()
        self.at_work = 0
        self.overlapped = False

    def tell(self, what: Any) -> None:
        self.told.append(what)

    def __call__(self, what: Any) -> None:
        """A handler that works until it may go on."""
        self.at_work += 1
        self.overlapped |= self.at_work > 1
        try:
            self.tell(what)
            self.running.set()
            assert self.go_on.wait(LIMIT)
        finally:
            self.at_work -= 1

    async def asynchronously(self, what: Any) -> None:
        self.tell(what)
        self.running.set()
        await until(self.go_on.is_set)


@pytest.fixture
def story() -> Iterator[Story]:
    made = Story()
    yield made
    made.go_on.set()  # no thread is left behind


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebSocket, "disconnect_grace", 0.05)
    monkeypatch.setattr(base, "CLEAN_UP", 0.05)


@pytest.fixture(autouse=True)
def _in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """No handler here takes so long that the disconnect is called beside it, however busy the machine is."""
    monkeypatch.setattr(base.Consumer, "disconnect_wait", 60.0)


@pytest.fixture(autouse=True)
def _layer() -> Iterator[None]:
    with installed({channel_layer: InMemoryChannelLayer()}):
        yield


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[HTTPServer]:
    made = HTTPServer(app, HTTPSettings(bind="127.0.0.1:0"), state={})
    async with asyncio.timeout(20), made:
        yield made


@contextlib.asynccontextmanager
async def broker(app: Any) -> AsyncIterator[MQTTServer]:
    made = MQTTServer(app, MQTTSettings(bind="127.0.0.1:0"), state={})
    async with asyncio.timeout(20), made:
        yield made


async def idle(server: Server) -> None:
    """No application runs any more."""
    await until(lambda: not sum(server.active().values()))


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def dial(server: Server) -> AsyncIterator[Streams]:
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def device(server: Server, name: str) -> AsyncIterator[Streams]:
    """Connected to an MQTT server, with 3.1.1."""
    async with dial(server) as (reader, writer):
        client_id = len(name).to_bytes(2, "big") + name.encode()
        writer.write(b"\x10%c\0\4MQTT\4\2\0\0" % (10 + len(client_id)) + client_id)
        assert await reader.readexactly(4) == b"\x20\x02\0\0"
        yield reader, writer


def publish(name: bytes, payload: bytes, packet_id: int = 0) -> bytes:
    """At QoS 1 where it has an id."""
    number = packet_id.to_bytes(2, "big") if packet_id else b""
    body = len(name).to_bytes(2, "big") + name + number + payload
    return b"%c%c" % (0x32 if packet_id else 0x30, len(body)) + body


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


class Told:
    """A consumer that tells its story."""

    def __init__(self, story: Story) -> None:
        self.story = story


# A handler that still runs when its peer leaves, and then sends.


class SyncSocket(Told, WebsocketConsumer):
    def connect(self, message: Any) -> None:
        self.group_add("all")
        self.accept()

    def receive(self, text: str) -> None:  # type: ignore[override]
        self.story(text)
        self.send(f"done {text}")

    def disconnect(self, code: int) -> None:
        self.story.tell(("disconnect", code))

    @layer_event("x")
    def on_x(self, event: Any) -> None: ...


class AsyncSocket(Told, AsyncWebsocketConsumer):
    async def connect(self, message: Any) -> None:
        await self.group_add("all")
        await self.accept()

    async def receive(self, text: str) -> None:  # type: ignore[override]
        await self.story.asynchronously(text)
        await self.send(f"done {text}")

    async def disconnect(self, code: int) -> None:
        self.story.tell(("disconnect", code))

    @layer_event("x")
    async def on_x(self, event: Any) -> None: ...


class WrappingSocket(AsyncSocket):
    async def receive(self, text: str) -> None:  # type: ignore[override]
        try:
            await super().receive(text)
        except OSError as error:
            raise RuntimeError("a framework's own") from error


class RawSocket(Told, AsyncConsumer):
    async def websocket_connect(self, event: Any) -> None:
        await self.group_add("all")
        await self.send({"type": "websocket.accept"})

    async def websocket_receive(self, event: Any) -> None:
        await self.story.asynchronously(event["text"])
        await self.send({"type": "websocket.send", "text": "done"})

    async def websocket_disconnect(self, event: Any) -> None:
        self.story.tell(("disconnect", event["code"]))

    @layer_event("x")
    async def on_x(self, event: Any) -> None: ...


WEBSOCKETS: dict[str, Any] = {"sync": SyncSocket, "async": AsyncSocket, "wrapping": WrappingSocket, "raw": RawSocket}


@pytest.mark.parametrize("form", ["sync", "async", "wrapping", "raw"])
async def test_a_websocket_that_leaves_while_a_handler_runs(
    form: str, story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    """What it had said before it left is handled, and then the disconnect; nothing stays in the layer's groups."""
    async with serving(WEBSOCKETS[form].as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            for text in ("a", "b", "c"):
                await peer.send(text)
            await until(story.running.is_set)
            await peer.close(4321)
        story.go_on.set()
        await idle(server)
    assert story.told == ["a", "b", "c", ("disconnect", 4321)]
    assert get_channel_layer()._groups == {}  # type: ignore[attr-defined]
    assert errors(caplog) == []


async def raise_exit() -> None:
    raise GeneratorExit


class ExitingSocket(Told, AsyncWebsocketConsumer):
    async def receive(self, text: str) -> None:  # type: ignore[override]
        if text == "itself":
            await raise_exit()
        await asyncio.create_task(raise_exit())

    async def disconnect(self, code: int) -> None:
        self.story.tell(("disconnect", code))


@pytest.mark.parametrize("how", ["itself", "task"])
async def test_a_websocket_whose_handler_raises_generator_exit(how: str, story: Story) -> None:
    async with serving(ExitingSocket.as_asgi(story=story)) as server, websocket(f"ws://{server.address}/") as peer:
        await peer.send(how)
        await peer.wait_closed()
        await until(lambda: story.told == [("disconnect", 1011)])


class SlowDoor(Told, AsyncWebsocketConsumer):
    async def connect(self, message: Any) -> None:
        await self.story.asynchronously("connect")
        await self.accept()

    async def disconnect(self, code: int) -> None:
        self.story.tell(("disconnect", code))


async def test_a_websocket_that_leaves_before_it_is_accepted(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    handshake = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    async with serving(SlowDoor.as_asgi(story=story)) as server:
        async with dial(server) as (_, writer):
            writer.write(handshake)
            await until(story.running.is_set)
            writer.transport.abort()
        await asyncio.sleep(0.05)  # the server has seen it
        story.go_on.set()
        await idle(server)
    assert story.told == ["connect", ("disconnect", 1006)]
    assert errors(caplog) == []


class SyncDevice(Told, MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None:
        self.story(payload)
        self.publish("out", payload)

    def disconnect(self, message: Any) -> None:
        self.story.tell(("disconnect", message["clean"]))


class AsyncDevice(Told, AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        await self.story.asynchronously(payload)
        await self.publish("out", payload)

    async def disconnect(self, message: Any) -> None:
        self.story.tell(("disconnect", message["clean"]))


DEVICES: dict[str, Any] = {"sync": SyncDevice, "async": AsyncDevice}


@pytest.mark.parametrize("form", ["sync", "async"])
@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("qos", [0, 1])
async def test_a_device_that_leaves_while_a_handler_runs(
    form: str, routed: bool, qos: int, story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    """What its handlers publish reaches the subscribers, although the device is gone: it will not say it again."""
    consumer = DEVICES[form].as_asgi(story=story)
    app = TopicRouter([topic("t", consumer), default(AsyncDevice.as_asgi(story=Story()))]) if routed else consumer
    async with (
        broker(app) as server,
        device(server, "sub") as (reader, subscriber),
        device(server, "dev") as (_, writer),
    ):
        subscriber.write(b"\x82\x08\0\1\0\3out\0")
        assert (await reader.readexactly(5))[:4] == b"\x90\x03\0\1"
        writer.write(b"".join(publish(b"t", b"%d" % each, qos * each) for each in (1, 2, 3)) + b"\xe0\0")
        await until(story.running.is_set)
        await asyncio.sleep(0.05)  # the server has seen it leave
        story.go_on.set()
        async with asyncio.timeout(LIMIT):
            heard = await reader.readexactly(3 * len(publish(b"out", b"1")))
        await until(lambda: ("disconnect", True) in story.told)
    assert heard == b"".join(publish(b"out", each) for each in (b"1", b"2", b"3"))
    assert story.told[:4] == [b"1", b"2", b"3", ("disconnect", True)]
    assert errors(caplog) == []


class SyncPage(Told, HttpConsumer):
    def handle(self, body: bytes) -> None:
        self.start()
        self.write(b"begun")
        self.story("handle")
        for _ in range(100):
            self.write(b"more")

    def disconnect(self) -> None:
        self.story.tell("disconnect")


class AsyncPage(Told, AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        await self.start()
        await self.write(b"begun")
        await self.story.asynchronously("handle")
        for _ in range(100):
            await self.write(b"more")

    async def disconnect(self) -> None:
        self.story.tell("disconnect")


PAGES: dict[str, Any] = {"sync": SyncPage, "async": AsyncPage}


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_a_reader_that_leaves_while_its_answer_is_made(
    form: str, story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(PAGES[form].as_asgi(story=story)) as server:
        async with dial(server) as (_, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(story.running.is_set)
            writer.transport.abort()
        await asyncio.sleep(0.05)  # the server has seen it
        story.go_on.set()
        await idle(server)
    assert story.told == ["handle", "disconnect"]
    assert errors(caplog) == []


# A handler that does not end.


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("consumer", ["async", "raw"])
async def test_a_slow_handler_is_cancelled_and_then_the_disconnect_called(consumer: str, story: Story) -> None:
    async with serving(WEBSOCKETS[consumer].as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("slow")
            await until(story.running.is_set)
            await peer.close(4321)
        await idle(server)
    assert story.told == ["slow", ("disconnect", 4321)]
    assert get_channel_layer()._groups == {}  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_impatient")
async def test_a_slow_thread_calls_the_disconnect_as_its_last(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    """The run is over meanwhile; two methods of one instance never overlap."""
    async with serving(WEBSOCKETS["sync"].as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("slow")
            await until(story.running.is_set)
            await peer.close(4321)
        await idle(server)
        assert story.told == ["slow"]
        assert get_channel_layer()._groups == {}  # type: ignore[attr-defined]
        story.go_on.set()
        await until(lambda: len(story.told) == 2)
    assert story.told == ["slow", ("disconnect", 4321)]
    assert not story.overlapped
    assert errors(caplog) == []


@pytest.mark.usefixtures("_impatient")
async def test_a_method_that_still_waits_for_a_thread_is_not_called_after_the_disconnect(
    story: Story,
) -> None:
    with threads(1):
        async with serving(WEBSOCKETS["sync"].as_asgi(story=story)) as server:
            async with websocket(f"ws://{server.address}/") as first, websocket(f"ws://{server.address}/") as second:
                await first.send("at work")
                await until(story.running.is_set)
                await second.send("waits")
                await asyncio.sleep(0.05)
                await second.close(4002)
                await until(lambda: server.active()["websocket"] == 1)
            story.go_on.set()
            await idle(server)
        await until(lambda: len([each for each in story.told if isinstance(each, tuple)]) == 2)
    assert "waits" not in story.told


@pytest.mark.usefixtures("_impatient")
async def test_a_disconnect_that_waits_for_a_thread_is_called_when_there_is_one(story: Story) -> None:
    with threads(1):
        async with serving(WEBSOCKETS["sync"].as_asgi(story=story)) as server:
            async with websocket(f"ws://{server.address}/") as first, websocket(f"ws://{server.address}/") as second:
                await first.send("at work")
                await until(story.running.is_set)
                await second.close(4002)
                await until(lambda: server.active()["websocket"] == 1)
            story.go_on.set()
            await idle(server)
        await until(lambda: ("disconnect", 4002) in story.told)
        await until(lambda: len(story.told) == 3)
    assert story.told.count(("disconnect", 4002)) == 1


@pytest.mark.parametrize("form", ["sync", "async", "raw"])
async def test_the_end_of_the_grace_calls_the_disconnect(form: str, story: Story) -> None:
    made = HTTPServer(WEBSOCKETS[form].as_asgi(story=story), HTTPSettings(bind="127.0.0.1:0"), state={})
    async with asyncio.timeout(20):
        await made.start()
        peer = await websocket(f"ws://{made.address}/")
        await peer.send("slow")
        await until(story.running.is_set)
        await made.stop(0.05)
        story.go_on.set()
        await until(lambda: len(story.told) == 2)
        peer.transport.abort()
    assert story.told == ["slow", ("disconnect", 1012)]


@pytest.mark.usefixtures("_impatient")
async def test_a_disconnect_that_hangs_is_cut_off_when_the_run_is_cancelled(
    caplog: pytest.LogCaptureFixture, story: Story
) -> None:
    class Hanging(AsyncSocket):
        async def disconnect(self, code: int) -> None:
            story.tell("disconnect")
            await asyncio.sleep(1000)

    async with serving(Hanging.as_asgi(story=story)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            await peer.send("slow")
            await until(story.running.is_set)
        await idle(server)
    assert story.told == ["slow", "disconnect"]
    assert get_channel_layer()._groups == {}  # type: ignore[attr-defined]
    (line,) = errors(caplog)
    assert "disconnect" in line


# A handler that fails.


@pytest.mark.parametrize("broken", [False, True], ids=["disconnect works", "disconnect fails, too"])
async def test_a_crash_calls_the_disconnect_and_is_the_crash_that_is_logged(
    broken: bool, story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    class Crashing(AsyncWebsocketConsumer):
        async def receive(self, text: str) -> None:  # type: ignore[override]
            raise ValueError("the handler")

        async def disconnect(self, code: int) -> None:
            story.tell(("disconnect", code))
            if broken:
                raise LookupError("the clean-up")

    async with serving(Crashing.as_asgi()) as server, websocket(f"ws://{server.address}/") as peer:
        await peer.send("x")
        await peer.wait_closed()
        assert peer.close_code == 1011
        await idle(server)
    assert story.told == [("disconnect", 1011)]
    raised = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert raised == ([LookupError] if broken else []) + [ValueError]


async def test_a_device_whose_handler_failed_is_told_of_once(story: Story) -> None:
    class Crashing(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            raise ValueError("the handler")

        async def disconnect(self, message: Any) -> None:
            story.tell(("disconnect", message["reason_code"]))

    async with broker(Crashing.as_asgi()) as server:
        async with device(server, "dev") as (reader, writer), asyncio.timeout(LIMIT):
            writer.write(publish(b"t", b"x"))
            assert await reader.read() == b""
        await idle(server)
    assert story.told == [("disconnect", 0x80)]


async def test_what_another_peer_raises_is_a_crash(story: Story, caplog: pytest.LogCaptureFixture) -> None:
    class Forwarding(AsyncWebsocketConsumer):
        async def receive(self, text: str) -> None:  # type: ignore[override]
            raise Disconnected("the other side of a proxy")

    async with serving(Forwarding.as_asgi()) as server, websocket(f"ws://{server.address}/") as peer:
        await peer.send("x")
        await peer.wait_closed()
        assert peer.close_code == 1011
    assert len(errors(caplog)) == 1


async def test_neighbours_of_a_route_that_met_the_end_first_hear_all_that_was_said(story: Story) -> None:
    """An application of one's own lets the Disconnected pass, and nobody can acknowledge the unrouted messages."""
    seen: Counter[str] = Counter()
    held = asyncio.Event()

    async def lax(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "mqtt.accept"})
        await receive()
        story.running.set()
        await held.wait()
        await send({"type": "mqtt.ack", "id": 7})  # the device is gone, and says it again

    class Counting(AsyncMqttConsumer):
        async def receive(self, topic: str, payload: bytes) -> None:
            await held.wait()
            await asyncio.sleep(0.01)
            seen[topic] += 1

        async def disconnect(self, message: Any) -> None:
            seen["disconnect"] += 1

    async with broker(TopicRouter([topic("lax", lax), topic("count", Counting)])) as server:
        acknowledged = b"\x32\x08\0\3lax\0\7x"
        unrouted = b"\x32\x08\0\3any\0\x08x"
        async with device(server, "dev") as (_, writer):
            writer.write(acknowledged + publish(b"count", b"1") * 5 + unrouted + publish(b"count", b"1") * 5)
            await until(story.running.is_set)
            writer.transport.abort()
        await asyncio.sleep(0.05)
        held.set()
        await until(lambda: seen["disconnect"])
        await idle(server)
    assert seen == {"count": 10, "disconnect": 1}


async def test_under_another_server_an_oserror_is_the_end(story: Story) -> None:
    """As uvicorn's ClientDisconnected."""
    story.go_on.set()
    events = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.receive", "text": "b"},
        {"type": "websocket.disconnect", "code": 1012},
    ]

    async def receive() -> Any:
        return events.pop(0) if events else await asyncio.Event().wait()

    async def send(event: Any) -> None:
        if event["type"] == "websocket.send":
            raise ConnectionResetError

    async with asyncio.timeout(LIMIT):
        await WEBSOCKETS["async"].as_asgi(story=story)(scope("websocket"), receive, send)
    assert story.told == ["a", "b", ("disconnect", 1012)]


async def test_raw_consumers_hear_the_disconnect_of_a_mail_and_a_text() -> None:
    told: list[str] = []

    class Raw(AsyncConsumer):
        async def email_receive(self, event: Any) -> None: ...

        async def sms_receive(self, event: Any) -> None: ...

        async def email_disconnect(self, event: Any) -> None:
            told.append(event["type"])

        sms_disconnect = email_disconnect

    for kind, event in (("email", {"body": b"", "more_body": False}), ("sms", {"text": "x", "media": []})):
        async with Conversation(Raw.as_asgi(), scope(kind)) as peer:
            peer.say({"type": f"{kind}.receive", **event}, {"type": f"{kind}.disconnect"})
            await peer.end()
    assert told == ["email.disconnect", "sms.disconnect"]


class _Chat(AsyncConsumer):
    """A consumer from another distribution."""

    received = ("chat.receive", "chat.disconnect")
    _required = ("chat_receive",)

    async def chat_receive(self, event: Any) -> None:
        await self.send({"type": "chat.send"})

    async def chat_disconnect(self, event: Any) -> None:
        self.scope["told"].append(event["type"])


class _Connection(_Chat):
    connections = ("chat",)


@pytest.mark.parametrize(("consumer", "ends"), [(_Connection, False), (_Chat, True)])
async def test_a_scope_type_of_others_says_whether_it_is_a_connection(consumer: type[_Chat], ends: bool) -> None:
    """A connection goes on to its disconnect; a message whose handler did not finish is not accepted."""
    events = iter([{"type": "chat.receive"}, {"type": "chat.disconnect"}])
    scope: dict[str, Any] = {"type": "chat", "told": []}

    async def receive() -> Any:
        return next(events)

    async def send(event: Any) -> None:
        raise Disconnected("the peer is gone")

    with pytest.raises(Disconnected) if ends else contextlib.nullcontext():
        await consumer.as_asgi()(scope, receive, send)
    assert scope["told"] == ["chat.disconnect"]
