"""A value that a method returns: nobody gets it, and the log says so, with what to call instead."""

from typing import Any

import pytest
from conversation import Conversation, in_form_of, scope

import gateway
from gateway import (
    AsyncConsumer,
    AsyncEmailConsumer,
    AsyncHttpConsumer,
    AsyncWebsocketConsumer,
    SyncConsumer,
    layer_event,
)
from gateway.consumers.forms import AsyncForm
from protocols.mail.run import EmailRun

HTTP = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
WEBSOCKET = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "1"}]
MQTT = [
    {"type": "mqtt.connect", "username": None, "password": None},
    {"type": "mqtt.receive", "topic": "t", "payload": b"1", "qos": 0, "retain": False, "dup": False, "id": None}
    | {"properties": {}},
]
EMAIL = [{"type": "email.receive", "body": b"Subject: x\r\n\r\nHello", "more_body": False}]
SMS = [{"type": "sms.receive", "text": "hi", "media": []}]
RECEIPT = [{"type": "sms.status", "message_id": "1", "status": "delivered", "error": None}]
PUBLISH = "self.publish(topic, payload)"
REPLY = f"{PUBLISH}, or self.reply(payload) to a message with a response topic"
CLASSES = {
    "HttpConsumer": (HTTP, "handle", ("body",), "self.respond(body)"),
    "WebsocketConsumer": (WEBSOCKET, "receive", ("text",), "self.send(text)"),
    "JsonWebsocketConsumer": (WEBSOCKET, "receive_json", ("content",), "self.send_json(content)"),
    "MqttConsumer": (MQTT, "receive", ("topic", "payload"), REPLY),
    "JsonMqttConsumer": (MQTT, "receive_json", ("topic", "content"), REPLY),
    "MqttBatchConsumer": (MQTT, "receive_batch", ("messages",), PUBLISH),
    "EmailConsumer": (EMAIL, "receive", ("message",), "self.reply(text)"),
    "SMSConsumer": (SMS, "receive", ("text", "media"), "self.reply(text)"),
}


def written(base: Any, name: str, parameters: tuple[str, ...], body: str) -> Any:
    """Return a class called Handler with one method, as a person writes it in a file."""
    is_async = "async " if issubclass(base, AsyncForm) else ""
    known: dict[str, Any] = {"Base": base}
    source = f"class Handler(Base):\n  {is_async}def {name}(self, {', '.join(parameters)}):\n    {body}\n"
    exec(compile(source, "shop.py", "exec"), known)  # noqa: S102 -- the text is above
    return known["Handler"]


async def run(app: Any, kind: str, events: list[dict[str, Any]]) -> None:
    end = {"type": f"{kind}.disconnect", "reason_code": 0, "reason": "", "clean": True}
    async with Conversation(app, scope(kind)) as peer:
        peer.say(*events, end)
        await peer.end()


@pytest.mark.parametrize("form", ["", "Async"])
@pytest.mark.parametrize("name", CLASSES)
async def test_a_returned_value_is_told_once(name: str, form: str, caplog: pytest.LogCaptureFixture) -> None:
    events, method, parameters, instead = CLASSES[name]
    handler = written(getattr(gateway, form + name), method, parameters, "return 'thanks'")
    kind = events[0]["type"].partition(".")[0]
    for _ in range(2):
        try:
            await run(handler.as_asgi(), kind, events)
        except RuntimeError:
            assert kind == "http", "a request without a response fails, as before"
    said = f"Handler.{method} (shop.py:2) has returned a str, which nobody gets; call {instead}"
    assert caplog.text.count(said) == 1
    assert caplog.text.count("which nobody gets") == 1


@pytest.mark.parametrize("base", [AsyncConsumer, SyncConsumer])
async def test_raw_consumers_have_other_helpers(base: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Raw(base):
        @in_form_of(base)
        def websocket_connect(self, message: Any) -> Any:
            return False

        @in_form_of(base)
        def websocket_receive(self, message: Any) -> Any:
            return {"type": "websocket.send"}

    await run(Raw.as_asgi(), "websocket", WEBSOCKET)
    assert "Raw.websocket_connect (" in caplog.text
    assert 'has returned a bool, which nobody gets; call self.send({"type": "websocket.accept"})' in caplog.text
    assert "has returned a dict, which nobody gets\n" in caplog.text


async def test_a_method_for_messages_of_the_layer(caplog: pytest.LogCaptureFixture) -> None:
    class Member(AsyncWebsocketConsumer):
        async def receive(self, text: str | None, bytes: bytes | None = None) -> None:
            await self.channel_layer.send(self.channel_name, {"type": "news"})

        @layer_event("news")
        async def on_news(self, message: Any) -> str:
            await self.send("told")
            return "news"

    async with Conversation(Member.as_asgi(), scope("websocket")) as peer:
        peer.say(*WEBSOCKET)
        assert [(await peer.hear())["type"] for _ in range(2)] == ["websocket.accept", "websocket.send"]
        peer.say({"type": "websocket.disconnect"})
        await peer.end()
    assert "Member.on_news (" in caplog.text
    assert "has returned a str, which nobody gets\n" in caplog.text


async def test_what_helpers_return_may_be_returned(caplog: pytest.LogCaptureFixture) -> None:
    class Thanks(AsyncEmailConsumer):
        async def receive(self, message: Any) -> str:
            return await self.reply("Thanks.")

    class Page(AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            return await self.respond(b"x")

    class Submission:
        async def submit(self, *_: Any, **__: Any) -> None: ...

    mail = b"From: ann@example.com\r\nSubject: x\r\n\r\nHello"
    told = scope("email", verified_from="ann@example.com")
    assert await EmailRun(Thanks.as_asgi(), told, mail, Submission(), 10.0).run() is None
    await run(Page.as_asgi(), "http", HTTP)
    assert "nobody gets" not in caplog.text


@pytest.mark.parametrize("name", ["EmailConsumer", "AsyncEmailConsumer"])
def test_a_method_with_a_yield_is_an_error_at_the_start(name: str) -> None:
    said = r"Handler.receive (\(line 2\) has a yield, so calling it runs none of it|\(line 2\) is not async)"
    with pytest.raises(TypeError, match=said):
        written(getattr(gateway, name), "receive", ("message",), "yield 'thanks'")
