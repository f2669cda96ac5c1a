"""Who is told of for leaving a peer without an answer, and who is not; with real peers in test_mistakes.py."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from conversation import Conversation, scope
from waiting import until

from gateway import AsyncConsumer, AsyncHttpConsumer, AsyncWebsocketConsumer, layer_event
from gateway.consumers import base, unanswered


class Noted(unanswered.Unanswered):
    """Those of one test."""

    all: ClassVar[list["Noted"]] = []

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(tell)
        self.all.append(self)


def looked() -> bool:
    """Whether everybody who waited for an answer has looked for the last time: then no line can come."""
    return all(each._timer is None for each in Noted.all)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(unanswered, "PATIENCE", 0.02)
    monkeypatch.setattr(base, "Unanswered", Noted)
    yield
    Noted.all.clear()


class Reader(AsyncConsumer):
    """Acknowledges what says so."""

    async def mqtt_connect(self, message: Any) -> None:
        await self.send({"type": "mqtt.accept"})

    async def mqtt_receive(self, message: Any) -> None:
        if message["payload"] != b"no":
            for number in message["payload"].split():
                await self.send({"type": "mqtt.ack", "id": int(number)})

    async def mqtt_disconnect(self, message: Any) -> None: ...


def message(id: int | None, payload: bytes) -> dict[str, Any]:
    return {"type": "mqtt.receive", "topic": "t", "payload": payload, "qos": int(id is not None), "id": id}


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([message(1, b"1"), message(None, b"no")], 0),
        ([message(1, b"no"), message(2, b"no"), message(3, b"3 1 2")], 0),
        ([message(1, b"no"), message(2, b"2")], 1),
        ([message(1, b"no"), message(2, b"no")], 1),
    ],
)
async def test_messages_are_acknowledged_one_by_one(
    messages: list[dict[str, Any]], told: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with Conversation(Reader.as_asgi(), scope("mqtt")) as device:
        device.say({"type": "mqtt.connect"}, *messages)
        await until(lambda: device.is_idle() and looked())
        device.say({"type": "mqtt.disconnect"})
        await device.end()
    assert caplog.text.count("Reader.mqtt_receive") == told


class Early(AsyncConsumer):
    """Begins its response before it has the whole request, and goes on with it later."""

    async def http_request(self, message: Any) -> None:
        if message["more_body"]:
            await self.send({"type": "http.response.start", "status": 200})


class Waits(AsyncHttpConsumer):
    """Responds when something happens: a long poll."""

    async def handle(self, body: bytes) -> None: ...

    @layer_event("news")
    async def on_news(self, message: Any) -> None:
        await self.respond(b"news")


class Silent(AsyncConsumer):
    async def http_request(self, message: Any) -> None: ...


class Greets(AsyncWebsocketConsumer):
    """Accepts from a task, in time."""

    async def connect(self, message: Any) -> None:
        self.task = asyncio.ensure_future(self.later())

    async def later(self) -> None:
        await asyncio.sleep(0)
        await self.accept()


REQUEST = [{"type": "http.request", "body": b"x", "more_body": more} for more in (True, False)]


@pytest.mark.parametrize(
    ("consumer", "kind", "events", "told"),
    [
        (Early, "http", REQUEST, 0),
        (Waits, "http", REQUEST, 0),
        (Silent, "http", REQUEST, 1),
        (Silent, "http", REQUEST[:1], 0),
        (Greets, "websocket", [{"type": "websocket.connect"}], 0),
    ],
)
async def test_who_may_answer_later(
    consumer: Any, kind: str, events: list[dict[str, Any]], told: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with Conversation(consumer.as_asgi(), scope(kind)) as peer:
        peer.say(*events)
        await until(lambda: peer.is_idle() and looked())
    assert caplog.text.count("has returned without") == told
