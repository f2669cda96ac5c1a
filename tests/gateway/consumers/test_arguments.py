"""What helpers take: plain meanings work, and other mistakes are a TypeError at the handler's line."""

import json
import linecache
import re
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from conversation import Conversation, scope

from gateway import (
    AsyncEmailConsumer,
    AsyncHttpConsumer,
    AsyncJsonWebsocketConsumer,
    AsyncMqttConsumer,
    AsyncSMSConsumer,
    AsyncWebsocketConsumer,
    EmailConsumer,
    HttpConsumer,
    JsonWebsocketConsumer,
    MqttConsumer,
    MqttMessage,
    SMSConsumer,
    WebsocketConsumer,
)
from gateway.event_sender import sender
from gateway.sending import group_send, publish, send_mail, send_text
from gateway.services import entered

FIRST: dict[str, dict[str, Any]] = {
    "http": {"type": "http.request", "body": b"", "more_body": False},
    "websocket": {"type": "websocket.connect"},
    "mqtt": {"type": "mqtt.connect", "username": None, "password": None},
    "email": {"type": "email.receive", "body": b"Subject: hi\r\n\r\nhi\r\n", "more_body": False},
    "sms": {"type": "sms.receive", "text": "hi", "media": []},
}
METHODS: dict[str, tuple[str, type, type]] = {
    "http": ("handle(self, body)", HttpConsumer, AsyncHttpConsumer),
    "websocket": ("connect(self, message)", WebsocketConsumer, AsyncWebsocketConsumer),
    "mqtt": ("connect(self, message)", MqttConsumer, AsyncMqttConsumer),
    "email": ("receive(self, message)", EmailConsumer, AsyncEmailConsumer),
    "sms": ("receive(self, text, media)", SMSConsumer, AsyncSMSConsumer),
}


def consumer(kind: str, call: str, *, is_async: bool) -> Any:
    """The consumer whose first method makes ``call``, in the third line of its source."""
    method, sync_base, async_base = METHODS[kind]
    word, wait = ("async ", "await ") if is_async else ("", "")
    source = f"class Own(Base):\n    {word}def {method}:\n        {wait}self.{call}\n"
    file = f"/own/{kind}/{call}/{is_async}.py"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    names: dict[str, Any] = {"Base": async_base if is_async else sync_base, "__name__": "own"}
    exec(compile(source, file, "exec"), names)  # noqa: S102 -- as in a user's module
    return names["Own"]


async def said(kind: str, call: str, *, is_async: bool) -> list[dict[str, Any]]:
    """What is sent by a handler that makes ``call``."""
    app = consumer(kind, call, is_async=is_async).as_asgi()
    async with Conversation(app, scope(kind)) as peer:
        peer.say(FIRST[kind])
        sent = [await peer.hear()]
        if kind == "http":
            sent.append(await peer.hear())
        return sent


MISTAKES = [
    ("http", "respond({'a': 1})", "respond: body is a dict; write bytes or text; for JSON call respond_json(content)"),
    ("http", "respond(404, 'x')", "respond: body is an int; write bytes or text; for JSON call respond_json(content)"),
    ("http", "respond(None)", "respond: body is None; write bytes or text; for JSON call respond_json(content)"),
    ("http", "respond('x', '404')", "respond: status is a str; write an integer from 200 to 599, after the body"),
    ("http", "respond('x', True)", "respond: status is a bool; write an integer from 200 to 599, after the body"),
    ("http", "respond('x', 200, 'a: b')", "respond: headers is a str; write a dict, such as"),
    ("http", "respond('x', 200, 5)", "respond: headers is an int; write a dict, such as"),
    ("http", "respond('x', 200, ['a: b'])", "respond: an item of headers is a str; write a pair, such as"),
    ("http", "respond('x', 200, {'a': None})", "respond: the value of 'a' in headers is None; write text or bytes"),
    ("http", "respond('x', 200, {'a': ['b']})", "respond: the value of 'a' in headers is a list; write text or bytes"),
    ("http", "respond('x', 200, {None: 'b'})", "respond: a name in headers is None; write text or bytes"),
    ("http", "start('200')", "start: status is a str; write an integer from 200 to 599"),
    ("http", "write({'a': 1})", "write: chunk is a dict; write bytes or text"),
    ("http", "respond_json({1, 2})", "Object of type set is not JSON serializable"),
    ("http", "respond_json({}, headers=3)", "respond_json: headers is an int; write a dict, such as"),
    ("websocket", "send({'a': 1})", "send: text is a dict; write text or bytes; for JSON call send_json(content)"),
    ("websocket", "send(bytes='x')", "send: bytes is a str; write bytes, or send(text)"),
    ("websocket", "send()", "send: text is None; write text or bytes; for JSON call send_json(content)"),
    ("websocket", "send('x', b'x')", "send: text and bytes are given; write one of them"),
    (
        "websocket",
        "close('bye')",
        "close: code is a str; write 1000 or an integer from 3000 to 4999: close(code, reason)",
    ),
    ("websocket", "close(1000, 5)", "close: reason is an int; write text"),
    ("websocket", "accept(['chat'])", "accept: subprotocol is a list; write text, one of self.scope"),
    ("websocket", "accept(headers=5)", "accept: headers is an int; write a dict, such as"),
    ("websocket", "group_send('all', 'hello')", "group_send: message is a str; write a dict with a type, such as"),
    ("websocket", "group_send('all', {'text': 'x'})", "group_send: message has no text under 'type'; write one, as in"),
    ("websocket", "group_send({'type': 'x'}, 'all')", "group_send: group is a dict; write the name of a group"),
    ("websocket", "group_add(None)", "group_add: name is None; write the name of a group, which is text"),
    ("mqtt", "publish(b't', 'x')", "publish: topic is a bytes; write text, such as sensors/1/temperature"),
    ("mqtt", "publish('t', {'a': 1})", "publish: payload is a dict; write bytes or text, such as str(value); for JSON"),
    ("mqtt", "publish('t', 21.5)", "publish: payload is a float; write bytes or text, such as str(value); for JSON"),
    ("mqtt", "publish('t', 'x', '1')", "publish: qos is a str; write 0, 1 or 2"),
    ("mqtt", "publish('t', 'x', properties=['a'])", "publish: properties is a list; write a dict of MQTT 5 properties"),
    ("mqtt", "publish_json(1, 'x')", "publish_json: topic is an int; write text, such as sensors/1/temperature"),
    ("mqtt", "accept('x')", "accept: properties is a str; write a dict of MQTT 5 properties, or None"),
    ("mqtt", "reject('no')", "reject: reason_code is a str; write the number of an MQTT 5 reason code, such as 0x87"),
    ("mqtt", "challenge(5)", "challenge: data is an int; write bytes or text"),
    ("mqtt", "close('bye')", "close: reason_code is a str; write the number of an MQTT 5 reason code, such as 0"),
    ("mqtt", "defer('5')", "defer: retry_after is a str; write a number of seconds"),
    (
        "mqtt",
        "reject_message('bad')",
        "reject_message: reason_code is a str; write the number of an MQTT 5 reason code",
    ),
    ("mqtt", "reject_message(0x83, 5)", "reject_message: reason is an int; write text"),
    (
        "email",
        "reject(550, 'no')",
        "reject: reason is an int; write text; the code comes after it: reject(reason, code)",
    ),
    ("email", "reject('no', '550')", "reject: code is a str; write an integer from 500 to 599"),
    ("email", "defer(30)", "defer: reason is an int; write text; the seconds come after it"),
    ("email", "defer('x', '30')", "defer: retry_after is a str; write a number of seconds"),
    ("email", "reply({'a': 1})", "reply: text is a dict; write text"),
    ("email", "reply(print)", "reply: text is a builtin_function_or_method; write text"),
    ("email", "send('ann@example.org', subject=object())", "send: subject is an object; write text"),
    ("email", "reply('x', html=b'<p>')", "reply: html is a bytes; write text"),
    ("email", "reply('x', headers=['a'])", "reply: headers is a list; write a dict, such as"),
    ("email", "send('ann@example.org', subject=5)", "send: subject is an int; write text"),
    (
        "email",
        "send('ann@example.org', text='x', attachments='a.pdf')",
        "send: attachments is a str; write a list",
    ),
    ("email", "send('ann@example.org', text='x', context='a')", "send: context is a str; write a dict, such as"),
    ("email", "forward('ann@example.org', text=5)", "forward: text is an int; write text"),
    ("email", "send_message('x', ['ann@example.org'])", "send_message: message is a str; write bytes, such as"),
    ("email", "send_message(b'x', 'ann@example.org')", "send_message: rcpt_to is a str; write a list, such as"),
    ("sms", "reply({'a': 1})", "reply: text is a dict; write text"),
    ("sms", "reply(lambda: 'x')", "reply: text is a function; write text"),
    ("sms", "reply(None)", "reply: text is None; write text"),
    ("sms", "reply('x', 'https://example.org/a.png')", "reply: media is a str; write a list of URLs, such as"),
    ("sms", "reject(5)", "reject: reason is an int; write text"),
]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("kind", "call", "sentence"), MISTAKES)
async def test_a_mistake_is_told_at_the_handlers_line(kind: str, call: str, sentence: str, is_async: bool) -> None:
    with pytest.raises(TypeError) as raised:
        await said(kind, call, is_async=is_async)
    assert str(raised.value).startswith(sentence)
    own = [frame for frame in traceback.extract_tb(raised.value.__traceback__) if frame.filename.startswith("/own/")]
    assert own[-1].lineno == 3
    assert call in str(own[-1].line)


START = {"type": "http.response.start", "status": 200, "trailers": False}
BODY = {"type": "http.response.body", "more_body": False}
LENGTH = (b"content-length", b"1")


def response(body: bytes, *fields: tuple[bytes, bytes], status: int = 200) -> list[dict[str, Any]]:
    length = (b"content-length", str(len(body)).encode())
    return [{**START, "status": status, "headers": [*fields, length]}, {**BODY, "body": body}]


MQTT = {"type": "mqtt.send", "topic": "t", "qos": 0, "retain": False}
PLAIN: list[tuple[str, str, list[dict[str, Any]]]] = [
    ("http", "respond('é')", response("é".encode())),
    ("http", "respond(bytearray(b'x'))", response(b"x")),
    ("http", "respond('x', headers={'Content-Type': 'text/csv'})", response(b"x", (b"Content-Type", b"text/csv"))),
    ("http", "respond('x', headers={b'a': b'1', b'b': 2})", response(b"x", (b"a", b"1"), (b"b", b"2"))),
    ("http", "respond('x', headers=[('a', 'é'), [b'b', 'c']])", response(b"x", (b"a", b"\xe9"), (b"b", b"c"))),
    ("http", "respond('x', headers=iter([(b'a', b'1')]))", response(b"x", (b"a", b"1"))),
    ("http", "respond_json({'a': 1})", response(b'{"a": 1}', (b"content-type", b"application/json"))),
    (
        "http",
        "respond_json([], 201, {'Content-Type': 'application/ld+json'})",
        response(b"[]", (b"Content-Type", b"application/ld+json"), status=201),
    ),
    ("websocket", "send(b'x')", [{"type": "websocket.send", "text": None, "bytes": b"x"}]),
    ("websocket", "send(bytes=memoryview(b'x'))", [{"type": "websocket.send", "text": None, "bytes": b"x"}]),
    ("websocket", "send_json({'a': 'é'})", [{"type": "websocket.send", "text": '{"a": "\\u00e9"}', "bytes": None}]),
    (
        "websocket",
        "accept(headers={'x-a': 'b'})",
        [{"type": "websocket.accept", "subprotocol": None, "headers": [(b"x-a", b"b")]}],
    ),
    ("mqtt", "publish('t', 'é')", [{**MQTT, "payload": "é".encode()}]),
    ("mqtt", "publish('t', bytearray(b'x'))", [{**MQTT, "payload": b"x"}]),
    ("mqtt", "publish_json('t', {'a': 1})", [{**MQTT, "payload": b'{"a": 1}'}]),
    ("mqtt", "challenge('x')", [{"type": "mqtt.auth", "data": b"x"}]),
]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(("kind", "call", "sent"), PLAIN)
async def test_a_plain_meaning_works(kind: str, call: str, sent: list[dict[str, Any]], is_async: bool) -> None:
    assert await said(kind, call, is_async=is_async) == sent


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: publish("t", {"a": 1}), "publish: payload is a dict; write bytes or text"),
        (lambda: publish(b"t", "x"), "publish: topic is a bytes; write text"),
        (lambda: send_text(447700900123, "x"), "send_text: to is an int; write a number, such as"),
        (
            lambda: send_text("+447700900123", "x", media="https://example.org/"),
            "send_text: media is a str; write",
        ),
        (lambda: send_mail("ann@example.org", text={"a": 1}), "send_mail: text is a dict; write text"),
        (lambda: group_send("all", "x"), "group_send: message is a str; write a dict with a type"),
        (lambda: group_send("all", {"text": "x"}), "group_send: message has no text under 'type'"),
    ],
)
def test_the_helpers_for_any_code_are_told_the_same(call: Callable[[], Any], sentence: str) -> None:
    with entered({sender: object()}), pytest.raises(TypeError, match=re.escape(sentence)):
        call()


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_translation_of_django_is_text(is_async: bool) -> None:
    lazy = "__import__('django.utils.functional').utils.functional.lazystr('é')"
    assert (await said("http", f"respond({lazy})", is_async=is_async))[1]["body"] == "é".encode()
    assert (await said("mqtt", f"publish('t', {lazy})", is_async=is_async))[0]["payload"] == "é".encode()
    assert (await said("websocket", f"send({lazy})", is_async=is_async))[0]["text"] == "é"


async def test_a_header_that_http_cannot_send_is_told_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"respond: the value of 'a' in headers has characters beyond Latin-1"):
        await said("http", "respond('x', headers={'a': '→'})", is_async=False)


def test_a_message_of_a_batch_checks_its_verdict() -> None:
    with pytest.raises(TypeError, match="reject: reason_code is a str"):
        MqttMessage("t", b"x").reject("bad")
    with pytest.raises(TypeError, match="defer: retry_after is a str"):
        MqttMessage("t", b"x").defer("5")


class Doubles(JsonWebsocketConsumer):
    def receive_json(self, content: Any) -> None:
        self.send_json({"double": 2 * content["n"]})


class AsyncDoubles(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any) -> None:
        await self.send_json({"double": 2 * content["n"]})


@pytest.mark.parametrize("consumer", [Doubles, AsyncDoubles])
@pytest.mark.parametrize(("event", "code"), [({"text": "{"}, 1007), ({"text": "NaN"}, 1007), ({"bytes": b"{}"}, 1003)])
async def test_a_websocket_of_json(
    consumer: Any, event: dict[str, Any], code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with Conversation(consumer.as_asgi(), scope("websocket")) as peer:
        peer.say(FIRST["websocket"], {"type": "websocket.receive", "text": json.dumps({"n": 21})})
        assert (await peer.hear())["type"] == "websocket.accept"
        assert (await peer.hear())["text"] == '{"double": 42}'
        peer.say({"type": "websocket.receive", **event})
        assert (await peer.hear())["code"] == code
        peer.say({"type": "websocket.disconnect", "code": code})
        await peer.end()
    assert [record.getMessage() for record in caplog.records] == (
        [f"websocket /: closed, not JSON ({len(event['text'])} characters)"] if "text" in event else []
    )


def test_a_json_consumer_needs_its_method() -> None:
    with pytest.raises(ValueError, match="write a method such as receive_json"):
        type("Empty", (JsonWebsocketConsumer,), {}).as_asgi()  # type: ignore[attr-defined]  # a consumer has it
