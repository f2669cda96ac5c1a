"""A helper that is called at the wrong time, or with a wrong value, says so in its own words."""

import re
from typing import Any

import pytest
from conversation import scope

import gateway
from gateway.consumers.forms import AsyncForm
from gateway.scopes.installed import KINDS
from protocols.errors import LocalProtocolError
from protocols.mail.run import EmailRun

MAIL = b"From: ann@example.com\r\nSubject: x\r\n\r\nHello"
MQTT = {"type": "mqtt.receive", "topic": "t", "payload": b"1", "qos": 0, "retain": False, "dup": False, "id": None}
RECEIPT = {"type": "sms.status", "message_id": "1", "status": "delivered", "error": None}
CASES: list[tuple[str, list[Any], str, list[tuple[Any, ...]], str]] = [
    ("Http", [], "handle", [("write", b"x")], "write: the response has not begun; call self.start() first"),
    ("Http", [], "handle", [("start",), ("start",)], "start: the response has begun; call self.write()"),
    ("Http", [], "handle", [("start",), ("respond", "x")], "respond: the response has begun; call self.write()"),
    ("Http", [], "handle", [("start",), ("write", "x"), ("respond_json", 1)], "respond_json: the response has begun"),
    ("Http", [], "handle", [("respond", "x", 99)], "respond: status is 99; write an integer from 200 to 599"),
    ("Websocket", [], "connect", [("send", "x")], "send: the connection is not accepted; call self.accept() first"),
    ("Websocket", [], "connect", [("accept",), ("accept",)], "accept: the connection is accepted already"),
    ("Websocket", [], "connect", [("accept",), ("close",), ("close",)], "close: the connection is closed already"),
    ("Websocket", [], "connect", [("close",), ("send_json", 1)], "send: the connection is closed already"),
    ("Mqtt", [], "connect", [("publish", "t", b"x")], "publish: the connection is not accepted; call self.accept()"),
    ("Mqtt", [], "connect", [("accept",), ("accept",)], "accept: the connection is accepted already"),
    ("Mqtt", [], "connect", [("reject",), ("accept",)], "accept: the connection is closed already"),
    ("Mqtt", [], "connect", [("accept",), ("publish_json", "a/#", 1)], "publish_json: topic is 'a/#'"),
    ("Mqtt", [MQTT], "receive", [("close",), ("publish", "t", "")], "publish: the connection is closed already"),
    ("Mqtt", [MQTT], "receive", [("reject_message", 5)], "reject_message: reason_code is 5; write one of"),
    ("Email", [], "receive", [("accept",), ("reject",)], "reject: the message has its verdict already"),
    ("Email", [], "receive", [("defer",), ("defer",)], "defer: the message has its verdict already"),
    ("Email", [], "receive", [("reject", "no", 250)], "reject: code is 250; write an integer from 500 to 599"),
    ("Email", [], "receive", [("reply", "x")], "reply: no submission server is configured"),
    ("Email", [], "receive", [("send", "a@example.org")], "send: no submission server is configured"),
    ("Email", [], "receive", [("forward", "a@example.org")], "forward: no submission server is configured"),
    ("Email", [], "receive", [("send_message", MAIL, ["a@example.org"])], "send_message: no submission server"),
    ("SMS", [], "receive", [("accept",), ("accept",)], "accept: the text is accepted already; only self.reply()"),
    ("SMS", [], "receive", [("reject",), ("reply", "x")], "reply: the text is rejected already"),
    ("SMS", [], "receive", [("defer",), ("reject",)], "reject: the text is deferred already"),
    ("SMS", [], "receive", [("reply", "")], "reply: text has no visible character"),
    ("SMS", [RECEIPT], "status", [("reply", "x")], "reply: a delivery receipt cannot be answered; to write to its"),
]

_EVENT = re.compile(r"\b(?:http|websocket|mqtt|email|sms)\.[a-z]")
"""The name of an event, which nobody knows who calls a helper."""


def consumer(base: Any, name: str, calls: list[tuple[Any, ...]]) -> Any:
    """Return a class with one method, which makes ``calls``."""
    if issubclass(base, AsyncForm):

        async def called(self: Any, *received: Any, **named: Any) -> None:
            for helper, *arguments in calls:
                if (awaited := getattr(self, helper)(*arguments)) is not None:
                    await awaited

        return type("Handler", (base,), {name: called})

    def method(self: Any, *received: Any, **named: Any) -> None:
        for helper, *arguments in calls:
            getattr(self, helper)(*arguments)

    return type("Handler", (base,), {name: method})


@pytest.mark.parametrize("form", ["", "Async"])
@pytest.mark.parametrize(("kind", "events", "name", "calls", "said"), CASES)
async def test_a_helper_speaks_of_itself(
    form: str, kind: str, events: list[Any], name: str, calls: list[tuple[Any, ...]], said: str
) -> None:
    app = consumer(getattr(gateway, f"{form}{kind}Consumer"), name, calls).as_asgi()
    given: Any = scope(kind.lower(), username=None)
    if kind == "Email":
        error = await EmailRun(app, given, MAIL, None, 10.0).run()
    else:
        error = await KINDS[given["type"]].replayed(app, given, events).run()
    assert type(error) is LocalProtocolError
    assert str(error).startswith(said)
    assert not _EVENT.search(str(error))


async def test_raw_events_are_spoken_of_as_they_are() -> None:
    class Raw(gateway.AsyncConsumer):
        async def websocket_connect(self, message: Any) -> None:
            await self.send({"type": "websocket.send", "text": "x"})

    error = await KINDS["websocket"].replayed(Raw.as_asgi(), scope("websocket"), []).run()
    assert str(error).startswith("'websocket.send' may not be sent now (state waiting)")


@pytest.mark.parametrize(
    ("base", "helper", "arguments"),
    [("Http", "respond", ["x"]), ("Websocket", "accept", []), ("Mqtt", "publish", ["t", b"x"]), ("SMS", "reject", [])],
)
def test_a_helper_in_init_says_where_to_call_it(base: str, helper: str, arguments: list[Any]) -> None:
    class Early(getattr(gateway, f"{base}Consumer")):
        def __init__(self) -> None:
            getattr(self, helper)(*arguments)

    with pytest.raises(RuntimeError, match=r"a helper of Early was called before .*; call it in a method"):
        Early()
