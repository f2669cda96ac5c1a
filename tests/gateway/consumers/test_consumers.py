"""Consumers of every protocol, sync and async, in memory."""

import re
import threading
from functools import partialmethod, wraps
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from conversation import Conversation, in_form_of, scope
from waiting import until

from gateway import (
    AsyncConsumer,
    AsyncEmailConsumer,
    AsyncHttpConsumer,
    AsyncMqttConsumer,
    AsyncWebsocketConsumer,
    EmailConsumer,
    EmailToRouter,
    HttpConsumer,
    InboundEmail,
    JsonMqttConsumer,
    MqttBatchConsumer,
    MqttConsumer,
    ProtocolTypeRouter,
    SMSConsumer,
    StopConsumer,
    SyncConsumer,
    WebsocketConsumer,
    address,
    get_channel_layer,
    layer_event,
    regex,
    topic,
)
from gateway.consumers import layer_messages


class Echo(WebsocketConsumer):
    def receive(self, text: str | None, bytes: bytes | None = None) -> None:
        self.send(text=text, bytes=bytes)
        if text == "bye":
            self.close(4000)


class AsyncEcho(AsyncWebsocketConsumer):
    async def receive(self, text: str | None, bytes: bytes | None = None) -> None:
        await self.send(text=text, bytes=bytes)
        if text == "bye":
            await self.close(4000)


@pytest.mark.parametrize("consumer", [Echo, AsyncEcho])
async def test_a_websocket_consumer_in_both_forms(consumer: Any) -> None:
    async with Conversation(consumer.as_asgi(), scope("websocket")) as peer:
        peer.say({"type": "websocket.connect"})
        assert (await peer.hear())["type"] == "websocket.accept"
        peer.say(
            {"type": "websocket.receive", "text": "hi"}, {"type": "websocket.receive", "bytes": b"\0", "text": None}
        )
        assert (await peer.hear())["text"] == "hi"
        assert (await peer.hear())["bytes"] == b"\0"
        peer.say({"type": "websocket.receive", "text": "bye"})
        assert [(await peer.hear())["type"] for _ in range(2)] == ["websocket.send", "websocket.close"]
        peer.say({"type": "websocket.disconnect", "code": 1000})
        await peer.end()


class Double(MqttConsumer):
    def receive(self, topic: str, payload: bytes) -> None:
        self.publish(topic + "/double", str(2 * int(payload)), qos=1)


class AsyncDouble(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        await self.publish(topic + "/double", str(2 * int(payload)), qos=1)


def publish(payload: bytes, id: int | None) -> dict[str, Any]:
    return {"type": "mqtt.receive", "topic": "t", "payload": payload, "qos": 0 if id is None else 1, "id": id}


@pytest.mark.parametrize("consumer", [Double, AsyncDouble])
async def test_mqtt_is_acknowledged_after_the_handler_and_never_when_it_raised(consumer: Any) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        async with Conversation(consumer.as_asgi(), scope("mqtt")) as device:
            device.say({"type": "mqtt.connect", "username": None, "password": None})
            assert (await device.hear()) == {"type": "mqtt.accept"}
            device.say(publish(b"21", 7), publish(b"1", None), publish(b"not a number", 8))
            assert (await device.hear())["payload"] == b"42"
            assert (await device.hear()) == {"type": "mqtt.ack", "id": 7}
            assert (await device.hear())["payload"] == b"2"
            await device.hear()


async def test_an_mqtt_consumer_may_refuse_a_device() -> None:
    class Door(MqttConsumer):
        def connect(self, message: Any) -> None:
            if message["password"] == b"s3cret":
                self.accept()
            else:
                self.reject(0x86)

    async with Conversation(Door.as_asgi(), scope("mqtt")) as device:
        device.say({"type": "mqtt.connect", "username": "a", "password": b"wrong"})
        assert await device.hear() == {"type": "mqtt.reject", "reason_code": 0x86}


MAIL = (
    b"From: Ann <ann@example.com>\r\nTo: help@example.org\r\nSubject: =?utf-8?q?caf=C3=A9=0A?=\r\n"
    b"Message-ID: <2@example.com>\r\nReferences: <1@example.com>\r\n\r\nHello\r\n"
)


def body(raw: bytes, size: int = 20) -> list[dict[str, Any]]:
    parts = [raw[i : i + size] for i in range(0, len(raw), size)]
    return [{"type": "email.receive", "body": part, "more_body": part is not parts[-1]} for part in parts]


class Desk(EmailConsumer):
    def receive(self, message: InboundEmail) -> None:
        assert message["From"] == "Ann <ann@example.com>"
        assert self.raw == MAIL
        self.reply("We are on it.")


class AsyncDesk(AsyncEmailConsumer):
    async def receive(self, message: InboundEmail) -> None:
        assert message["From"] == "Ann <ann@example.com>"
        await self.reply("We are on it.")
        await self.accept()


@pytest.mark.parametrize("consumer", [Desk, AsyncDesk])
async def test_mail_is_answered_in_its_thread(consumer: Any) -> None:
    async with Conversation(consumer.as_asgi(), scope("email")) as server:
        server.say(*body(MAIL))
        await server.end()
        answer = server.heard()[0]
    text = answer["message"].decode()
    assert (answer["mail_from"], answer["rcpt_to"]) == ("", ["ann@example.com"])
    assert "In-Reply-To: <2@example.com>\r\n" in text
    assert "References: <1@example.com> <2@example.com>\r\n" in text
    assert "Subject: Re: café\r\n" in text or "Subject: Re: =?utf-8?" in text
    assert "Auto-Submitted: auto-replied\r\n" in text


@pytest.mark.parametrize("base", [EmailConsumer, AsyncEmailConsumer])
async def test_what_the_route_captures_is_an_argument(base: Any) -> None:
    seen: list[Any] = []

    class Tickets(base):
        @in_form_of(base)
        def receive(self, message: Any, ticket: str, queue: str = "none") -> Any:
            seen.append((ticket, queue))

    class All(base):
        @in_form_of(base)
        def receive(self, message: Any, **captures: str) -> Any:
            seen.append(captures)

    for consumer in (Tickets, All):
        router = EmailToRouter([regex(r"^(?P<queue>\w+)?\+(?P<ticket>\d+)@example\.org$", consumer)])
        for rcpt_to in ("help+7@example.org", "+8@example.org"):
            async with Conversation(router, scope("email", rcpt_to=[rcpt_to])) as server:
                server.say(*body(MAIL))
                await server.end()
    assert seen == [("7", "help"), ("8", "none"), {"queue": "help", "ticket": "7"}, {"ticket": "8"}]
    with pytest.raises(ValueError, match=r"does not capture 'ticket', which .*Tickets takes"):
        address("help@example.org", Tickets)


@pytest.mark.parametrize(
    ("header", "mail_from"),
    [
        (b"", ""),
        (b"Auto-Submitted: auto-generated\r\n", "ann@example.com"),
        (b"Auto-Submitted: Auto-Replied; owner=ann\r\n", "ann@example.com"),
        (b"X-Autoreply: yes\r\n", "ann@example.com"),
        (b"X-Autorespond: On holiday\r\n", "ann@example.com"),
        (b"Content-Type: multipart/report; report-type=delivery-status\r\n", "ann@example.com"),
        (b"X-BeenThere: friends@example.com\r\n", "ann@example.com"),
        (b"Precedence: auto_reply\r\n", "ann@example.com"),
        (b"From: Shop <no_reply+7@shop.example>\r\n", "shop@example.com"),
        (b"From: Ann <bounces+7=ann@example.com>\r\n", "ann@example.com"),
        (b"List-Id: <x>\r\n", "ann@example.com"),
        (b"Precedence: bulk\r\n", "ann@example.com"),
        (b"X-Auto-Response-Suppress: DR, AutoReply\r\n", "ann@example.com"),
        (b"", "MAILER-DAEMON@example.com"),
    ],
)
async def test_robots_get_no_answer(header: bytes, mail_from: str) -> None:
    class Hasty(EmailConsumer):
        def receive(self, message: InboundEmail) -> None:
            self.reply("no")

    async with Conversation(Hasty.as_asgi(), scope("email", mail_from=mail_from)) as server:
        server.say(*body(header + MAIL))
        await server.end()
        assert server.heard() == []


@pytest.mark.parametrize(
    ("header", "to"),
    [
        (b"Auto-Submitted: no (a person wrote this)\r\n", "ann@example.com"),
        (b"X-Autoreply: no\r\n", "ann@example.com"),
        (b"X-Auto-Response-Suppress: DR, RN\r\n", "ann@example.com"),
        (b"From: Noreen <noreen@example.com>\r\n", "noreen@example.com"),
    ],
)
async def test_people_get_one(header: bytes, to: str) -> None:
    async with Conversation(AsyncPolite.as_asgi(), scope("email", mail_from="ann@example.com")) as server:
        server.say(*body(header + MAIL))
        await server.end()
        assert [event["rcpt_to"] for event in server.heard()[:1]] == [[to]]


class AsyncPolite(AsyncEmailConsumer):
    async def receive(self, message: InboundEmail) -> None:
        await self.reply("Thank you.")


async def test_headers_in_utf_8_are_text_and_so_is_the_answer() -> None:
    """RFC 6532; and where an address needs that, the answer is such a message too."""
    seen: list[str] = []

    class Reader(EmailConsumer):
        def receive(self, message: InboundEmail) -> None:
            seen.extend([str(message["From"]), message.subject, *(part.get_filename("") for part in message.walk())])
            self.reply("Danke")

    raw = (
        "From: Jörg Müller <jörg@exämple.de>\r\nSubject: Grüße =?utf-8?q?=C3=BC?=\r\nMessage-ID: <ü@exämple.de>\r\n"
        'Content-Disposition: attachment; filename="Ärger.txt"\r\n\r\nHallo\r\n'
    ).encode()
    envelope = {"mail_from": "jörg@exämple.de", "rcpt_to": ["hilfe@exämple.org"]}
    async with Conversation(Reader.as_asgi(), scope("email", **envelope)) as server:
        server.say(*body(raw))
        await server.end()
        answer = server.heard()[0]["message"].decode()
    assert seen == ["Jörg Müller <jörg@exämple.de>", "Grüße ü", "Ärger.txt"]
    assert "<jörg@xn--exmple-cua.de>\r\nSubject: Re: Grüße ü\r\n" in answer
    assert "In-Reply-To: <ü@exämple.de>\r\n" in answer


async def test_an_answer_to_an_address_in_ascii_is_ascii_above_its_text() -> None:
    raw = "Subject: =?utf-7?q?+2AA-?= Grüße\r\nMessage-ID: <ü@x>\r\n\r\n".encode()
    async with Conversation(AsyncPolite.as_asgi(), scope("email", mail_from="ann@example.com")) as server:
        server.say(*body(raw))
        await server.end()
        assert server.heard()[0]["message"].isascii()


async def test_a_header_that_is_no_utf_8_is_text_too() -> None:
    seen: list[str] = []

    class Reader(EmailConsumer):
        def receive(self, message: InboundEmail) -> None:
            seen.append(message.subject)

    async with Conversation(Reader.as_asgi(), scope("email")) as server:
        server.say(*body(b"Subject: gr\xfc\xdfe\r\n\r\n"))
        await server.end()
    assert seen == ["grüße"]


async def test_texts_are_answered_and_receipts_heard() -> None:
    seen: list[str] = []

    class Texts(SMSConsumer):
        def receive(self, text: str, media: Any) -> None:
            self.reply(text.upper())

        def status(self, message: Any) -> None:
            seen.append(message["status"])

    async with Conversation(Texts.as_asgi(), scope("sms")) as provider:
        provider.say({"type": "sms.receive", "text": "hi", "media": []})
        assert (await provider.hear())["text"] == "HI"
        await provider.end()
    async with Conversation(Texts.as_asgi(), scope("sms")) as provider:
        provider.say({"type": "sms.status", "message_id": "1", "status": "delivered", "error": None})
        await provider.end()
    assert seen == ["delivered"]


class Upper(HttpConsumer):
    def handle(self, body: bytes) -> None:
        self.respond(body.upper(), status=201, headers=[(b"x-a", b"b")])


class AsyncUpper(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        await self.start(201, [(b"x-a", b"b")])
        await self.write(body.upper(), more=False)


@pytest.mark.parametrize("consumer", [Upper, AsyncUpper])
async def test_an_http_consumer_ends_with_its_response(consumer: Any) -> None:
    async with Conversation(consumer.as_asgi(), scope("http")) as client:
        client.say({"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.request", "body": b"b"})
        start, part = await client.hear(), await client.hear()
        await client.end()
    assert (start["status"], start["headers"][0], part["body"]) == (201, (b"x-a", b"b"), b"AB")


async def test_an_http_consumer_that_says_nothing_is_a_crash() -> None:
    class Silent(HttpConsumer):
        def handle(self, body: bytes) -> None:
            pass

    with pytest.raises(RuntimeError, match=r"Silent\.handle \(.*:\d+\) has returned without self\.respond\(\)"):
        async with Conversation(Silent.as_asgi(), scope("http")) as client:
            client.say({"type": "http.request", "body": b"", "more_body": False})
            await client.end()


class Listener(AsyncWebsocketConsumer):
    async def connect(self, message: Any) -> None:
        await self.accept()
        await self.group_add("news")

    @layer_event("news.item")
    async def on_news(self, message: dict[str, Any]) -> None:
        await self.send(text=message["text"])


class SyncListener(WebsocketConsumer):
    def connect(self, message: Any) -> None:
        self.group_add("news")
        self.accept()

    @layer_event("news.item")
    def on_news(self, message: dict[str, Any]) -> None:
        self.send(text=message["text"])


@pytest.mark.parametrize("consumer", [Listener, SyncListener])
async def test_a_group_reaches_its_consumers_until_they_leave(consumer: Any) -> None:
    class Reporter(SyncConsumer):
        def mqtt_connect(self, message: Any) -> None:
            self.group_send("news", {"type": "news.item", "text": "from a thread"})

    layer: Any = get_channel_layer()
    async with Conversation(consumer.as_asgi(), scope("websocket")) as peer:
        peer.say({"type": "websocket.connect"})
        await peer.hear()
        await until(lambda: layer._groups.get("news"))  # the async form joins after it has accepted
        await layer.group_send("news", {"type": "news.item", "text": "1"})
        assert (await peer.hear())["text"] == "1"
        async with Conversation(Reporter.as_asgi(), scope("mqtt")) as device:
            device.say({"type": "mqtt.connect"})
            assert (await peer.hear())["text"] == "from a thread"
        peer.say({"type": "websocket.disconnect", "code": 1001})
        await peer.end()
    assert layer._groups == {}
    assert layer._channels == {}


async def test_a_layer_message_calls_no_method_that_is_not_marked(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_messages, "PERIOD", 0.0)
    layer: Any = get_channel_layer()
    async with Conversation(Listener.as_asgi(), scope("websocket")) as peer:
        peer.say({"type": "websocket.connect"})
        await peer.hear()
        await until(lambda: layer._groups.get("news"))
        for kind in ("close", "websocket.disconnect", "news.item"):
            await layer.group_send("news", {"type": kind, "text": "1"})
        assert (await peer.hear())["text"] == "1"
    assert [record.getMessage().partition(", sent at ")[0] for record in caplog.records] == [
        "websocket /: Listener has no @layer_event method for 'close'",
        "websocket /: Listener has no @layer_event method for 'websocket.disconnect'",
    ]
    assert "test_consumers.py:" in caplog.text


async def test_raw_consumers_stop_when_they_say_so_and_name_what_they_cannot_do() -> None:
    class Raw(AsyncConsumer):
        async def websocket_connect(self, message: Any) -> None:
            raise StopConsumer

    async with Conversation(Raw.as_asgi(), scope("websocket")) as peer:
        peer.say({"type": "websocket.connect"})
        await peer.end()
    with pytest.raises(LookupError, match="Raw has no method for sms"):
        async with Conversation(Raw.as_asgi(), scope("sms")) as peer:
            await peer.end()


def with_user(method: Any) -> Any:
    """A decorator that passes more than it is given."""

    @wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, user="ann", **kwargs)

    return wrapper


def mistaken(base: type, text: str) -> Any:
    """The class ``C`` that somebody wrote with ``text`` in it."""
    names: dict[str, Any] = {
        "Base": base,
        "layer_event": layer_event,
        "partialmethod": partialmethod,
        "sync_to_async": sync_to_async,
        "with_user": with_user,
    }
    exec(f"class C(Base):\n    {text}", names)  # noqa: S102 -- as in a user's module
    return names["C"]


@pytest.mark.parametrize(
    ("base", "text", "sentence"),
    [
        (EmailConsumer, "def recieve(self, message): ...", "C.recieve is never called; did you mean receive?"),
        (MqttConsumer, "def conect(self, message): ...", "C.conect is never called; did you mean connect?"),
        (AsyncHttpConsumer, "async def handel(self, body): ...", "C.handel is never called; did you mean handle?"),
        (AsyncConsumer, "async def websocket_recieve(self, e): ...", "did you mean websocket_receive?"),
        (
            MqttConsumer,
            "def receive(self, topic): ...",
            "called with topic, payload; it takes (self, topic)",
        ),
        (HttpConsumer, "def handle(self): ...", "C.handle is called with body; it takes (self)"),
        (HttpConsumer, "def disconnect(self, code): ...", "C.disconnect is called with nothing; it takes (self, code)"),
        (WebsocketConsumer, "def connect(self): ...", "C.connect is called with message; it takes (self)"),
        (
            WebsocketConsumer,
            "def receive(self, text_data, bytes_data): ...",
            "C.receive is called with text; it takes (self, text_data, bytes_data)",
        ),
        (SyncConsumer, "def sms_receive(self): ...", "C.sms_receive is called with message; it takes (self)"),
        (
            SyncConsumer,
            "async def sms_receive(self, e): ...",
            "C.sms_receive is async in a sync consumer",
        ),
        (HttpConsumer, "async def handle(self, body): ...", "C.handle is async in a sync consumer: use the Async form"),
        (HttpConsumer, "@layer_event('a.b')\n    async def on(self, e): ...", "C.on is async in a sync consumer"),
        (
            WebsocketConsumer,
            "@layer_event('mqtt.receive')\n    def on(self, e): ...",
            "C: @layer_event('mqtt.receive') is an event of the peer; choose another type",
        ),
        (
            AsyncHttpConsumer,
            "def handle(self, body): ...",
            "C.handle (line 2) is not async in an async consumer: write async def, or use the sync form",
        ),
        (AsyncHttpConsumer, "handle = lambda self, body: ...", "C.handle (line 2) is not async"),
        (AsyncConsumer, "def websocket_connect(self, e): ...", "C.websocket_connect (line 2) is not async"),
        (AsyncMqttConsumer, "def disconnect(self, message): ...", "C.disconnect (line 2) is not async"),
        (AsyncHttpConsumer, "@layer_event('a.b')\n    def on(self, e): ...", "C.on (line 2) is not async"),
    ],
)
def test_a_method_that_cannot_be_called_is_told_when_the_class_is_made(base: type, text: str, sentence: str) -> None:
    with pytest.raises(TypeError, match=re.escape(sentence)):
        mistaken(base, text)


@pytest.mark.parametrize(
    ("base", "text"),
    [
        (SMSConsumer, "def stats(self): ..."),
        (WebsocketConsumer, "def connected(self): ..."),
        (EmailConsumer, "def receive(self, *args, **kwargs): ..."),
        (EmailConsumer, "def receive(self, mail, spam=False): ..."),
        (WebsocketConsumer, "def receive(self, bytes=None, text=None): ..."),
        (WebsocketConsumer, "def receive(self, text): ..."),
        (AsyncWebsocketConsumer, "async def receive(self, *, text=None, bytes=None): ..."),
        (MqttConsumer, "receive = staticmethod(lambda topic, payload: None)"),
        (MqttConsumer, "receive = classmethod(lambda cls, topic, payload: None)"),
        (MqttConsumer, "receive = property(lambda self: print)"),
        (MqttConsumer, "receive = partialmethod(lambda self, kind, topic, payload: None, 'x')"),
        (HttpConsumer, "@with_user\n    def handle(self, body, user): ..."),
        (EmailConsumer, "@with_user\n    def receive(self, message, *, user): ..."),
        (AsyncMqttConsumer, "def mqtt_reconnect(self): ..."),
        (MqttConsumer, "def mqtt_resubscribe(self): ..."),
        (AsyncWebsocketConsumer, "async def websocket_reconnect(self): ..."),
        (AsyncHttpConsumer, "handle = sync_to_async(lambda self, body: None)"),
        (AsyncHttpConsumer, "@with_user\n    async def handle(self, body, user): ..."),
    ],
)
def test_what_can_be_called_is_let_be(base: type, text: str) -> None:
    mistaken(base, text)


@pytest.mark.parametrize(
    ("base", "text"),
    [
        (AsyncConsumer, "async def dispatch(self, event): ..."),
        (AsyncConsumer, "async def run(self, scope, receive, send): ..."),
        (HttpConsumer, "async def run(self, scope, receive, send): ..."),
    ],
)
def test_a_class_that_does_all_itself_may_stand_in_a_router(base: type, text: str) -> None:
    ProtocolTypeRouter({"http": mistaken(base, text)})


def test_what_a_decorator_passes_no_topic_has_to_capture() -> None:
    topic("sensors/+", mistaken(MqttConsumer, "@with_user\n    def receive(self, topic, payload, user): ..."))


async def test_a_consumer_without_event_methods_may_dispatch_by_itself() -> None:
    class Own(AsyncConsumer):
        async def dispatch(self, event: Any) -> None:
            await self.send({"type": "seen", "event": event["type"]})
            raise StopConsumer

    async with Conversation(Own.as_asgi(), scope("sms")) as peer:
        peer.say({"type": "sms.receive"})
        assert await peer.hear() == {"type": "seen", "event": "sms.receive"}


async def test_bytes_for_a_consumer_of_texts_are_no_crash() -> None:
    class Texts(AsyncWebsocketConsumer):
        async def receive(self, text: str) -> None:  # type: ignore[override]
            await self.send(text)

    async with Conversation(Texts.as_asgi(), scope("websocket")) as peer:
        peer.say({"type": "websocket.connect"})
        assert (await peer.hear())["type"] == "websocket.accept"
        peer.say({"type": "websocket.receive", "text": "hello", "bytes": None})
        assert (await peer.hear())["text"] == "hello"
        peer.say({"type": "websocket.receive", "text": None, "bytes": b"\x00"})
        assert await peer.hear() == {"type": "websocket.close", "code": 1003, "reason": "text only"}


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        (EmailConsumer, "C handles nothing; write a method such as receive"),
        (AsyncHttpConsumer, "C handles nothing; write a method such as handle"),
        (SMSConsumer, "C handles nothing; write a method such as receive"),
        (JsonMqttConsumer, "C handles nothing; write a method such as receive_json"),
        (MqttBatchConsumer, "C handles nothing; write a method such as receive_batch"),
        (AsyncConsumer, "C handles nothing; write a method such as http_request"),
    ],
)
def test_a_consumer_that_would_take_everything_and_do_nothing_is_no_application(base: type, sentence: str) -> None:
    empty = mistaken(base, "limit = 1")
    with pytest.raises(ValueError, match=sentence):
        empty.as_asgi()


async def test_an_init_of_ones_own_needs_no_super() -> None:
    class Counting(HttpConsumer):
        def __init__(self, start: int) -> None:
            self.count = start

        def handle(self, body: bytes) -> None:
            self.respond(str(self.count))

    async with Conversation(Counting.as_asgi(start=7), scope("http")) as client:
        client.say({"type": "http.request", "body": b"", "more_body": False})
        assert [(await client.hear())["type"], (await client.hear())["body"]] == ["http.response.start", b"7"]


async def test_a_coroutine_from_a_sync_method_is_not_lost() -> None:
    class Mixed(SyncConsumer):
        def websocket_connect(self, message: Any) -> Any:
            return self.later()

        async def later(self) -> None: ...

    with pytest.raises(TypeError, match=r"of .*Mixed\.later \(.*\.py:\d+\): use the Async form"):
        async with Conversation(Mixed.as_asgi(), scope("websocket")) as peer:
            peer.say({"type": "websocket.connect"})
            await peer.end()


async def test_sync_handlers_run_in_order_in_one_instance_and_in_parallel_across_instances() -> None:
    barrier = threading.Barrier(3, timeout=5)
    order: list[int] = []

    class Blocking(MqttConsumer):
        def receive(self, topic: str, payload: bytes) -> None:
            if payload == b"meet":
                barrier.wait()  # passes only when three instances are here at once
            order.append(int(topic))

    peers = [Conversation(Blocking.as_asgi(), scope("mqtt")) for _ in range(3)]
    connect = {"type": "mqtt.connect", "username": None, "password": None}
    async with peers[0], peers[1], peers[2]:
        for number, peer in enumerate(peers):
            peer.say(connect, {**publish(b"meet", 1), "topic": str(number)})
            peer.say({**publish(b"", 2), "topic": str(number + 10)})
            peer.say({"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True})
        for peer in peers:
            await peer.end()
    for number in range(3):
        assert order.index(number) < order.index(number + 10)


async def test_a_sync_helper_on_the_loop_says_so_instead_of_waiting_for_itself() -> None:
    class Wrong(WebsocketConsumer):
        async def dispatch(self, event: Any) -> None:
            self.accept()

    with pytest.raises(RuntimeError, match="own loop"):
        async with Conversation(Wrong.as_asgi(), scope("websocket")) as peer:
            peer.say({"type": "websocket.connect"})
            await peer.end()


@pytest.mark.parametrize(
    "raw", [b"", b"\0" * 100, b"Content-Type: multipart/mixed; boundary=x\n\n" * 3000, b"Subject: \xff\n\n"]
)
async def test_a_mail_that_breaks_parsers_reaches_its_handler(raw: bytes) -> None:
    seen: list[bytes] = []

    class Anything(EmailConsumer):
        def receive(self, message: InboundEmail) -> None:
            assert isinstance(self.answerable, bool)
            seen.append(self.raw)
            self.reply("ok")

    async with Conversation(Anything.as_asgi(), scope("email")) as server:
        server.say(*(body(raw, 10_000) or [{"type": "email.receive", "body": b"", "more_body": False}]))
        await server.end()
    assert seen == [raw]
