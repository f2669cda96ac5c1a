"""Each protocol's messages have a span, with children for their handlers; a trusted sender's trace goes on."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from gateway_traced import Traced, handlers, traced
from servers.traced_device import SENT, SPAN, TRACE, UNSAMPLED, Device
from waiting import until

from gateway.scopes.http.tracing import TracedHTTP
from gateway.scopes.sms.send import SMS
from gateway.tracing import service

HANDLERS = """
import asyncio

from opentelemetry import propagate, trace

from gateway import aio
from gateway import AsyncEmailConsumer, AsyncHttpConsumer, AsyncMqttConsumer, AsyncSMSConsumer, AsyncWebsocketConsumer
from gateway import HttpConsumer, MqttBatchConsumer, MqttConsumer

tracer = trace.get_tracer("the application")
seen = []


def note():
    where = trace.get_current_span().get_span_context()
    seen.append(f"{where.trace_id:032x}" if where.is_valid else "")


async def shop(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    carrier = {}
    propagate.inject(carrier)  # as the instrumentation of an HTTP client does
    await receive()
    if scope["path"] == "/broken":
        raise KeyError("a secret")
    body = carrier.get("traceparent", "").encode()
    await send({"type": "http.response.start", "status": 201})
    await send({"type": "http.response.body", "body": body})


async def publishes(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await aio.publish("answers", b"yes")
    await send({"type": "http.response.start", "status": 204})
    await send({"type": "http.response.body", "body": b""})


class Thread(HttpConsumer):
    def handle(self, body):
        note()
        with tracer.start_as_current_span("a query"):
            self.respond("done")


class Loop(AsyncHttpConsumer):
    async def handle(self, body):
        with tracer.start_as_current_span("a call"):
            await self.respond("done")


class Chat(AsyncWebsocketConsumer):
    async def receive(self, text, bytes=None):
        note()
        await self.send(text.upper())


gate = asyncio.Event()


class Waits(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await gate.wait()


class Sensors(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        note()
        if payload == b"broken":
            raise KeyError("a secret")
        if payload == b"answer":
            await self.publish("answers", b"yes")


class OnThread(MqttConsumer):
    def receive(self, topic, payload):
        with tracer.start_as_current_span("a row"):
            self.publish("answers", b"yes")


class Batch(MqttBatchConsumer):
    max_batch = 3
    max_delay = 10

    def receive_batch(self, messages):
        with tracer.start_as_current_span("rows"):
            self.publish("answers", b"yes")


async def plain(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    while (event := await receive())["type"] != "mqtt.disconnect":
        if event["type"] == "mqtt.connect":
            await send({"type": "mqtt.accept"})
        elif event["id"] is not None:
            with tracer.start_as_current_span("by hand"):
                await send({"type": "mqtt.ack", "id": event["id"]})


class Help(AsyncEmailConsumer):
    async def receive(self, message):
        note()
        if message["subject"] == "bad":
            await self.reject("no")


class Texts(AsyncSMSConsumer):
    async def receive(self, text, media):
        note()
"""
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:0"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0"}
  mail: {protocol: smtp, bind: "127.0.0.1:0"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/texts, secret: s3cret}
routes:
  http:
    - {path: "^thread", app: traced_handlers.Thread}
    - {path: "^publishes", app: traced_handlers.publishes}
    - {path: "^loop", app: traced_handlers.Loop}
    - {path: "^", app: traced_handlers.shop}
  websocket: [{path: "^chat/", app: traced_handlers.Chat}]
  mqtt:
    - {topic: sensors/+/temperature, app: traced_handlers.Sensors}
    - {topic: waits/+, app: traced_handlers.Waits}
    - {topic: threads/+, app: traced_handlers.OnThread}
    - {topic: batches/+, app: traced_handlers.Batch}
    - {topic: plain/+, app: traced_handlers.plain}
    - {topic: kept/+, app: traced_handlers.OnThread, inbox: true}
    - {topic: failing/+, app: traced_handlers.Sensors, inbox: true, attempts: 1}
  email: [{domain: example.org, app: traced_handlers.Help}]
  sms: [{sender: "+44", app: traced_handlers.Texts}]
store: sqlite:traced.db
log: {level: error}
tracing: {endpoint: "COLLECTOR", sample: 100%, trust: [TRUSTED]}
"""
ALL = FILE.replace("TRUSTED", "web, devices, mail")
NONE = FILE.replace("TRUSTED", "")


@pytest.fixture(autouse=True)
def _handlers(tmp_path: Path) -> Iterator[None]:
    with handlers(tmp_path, HANDLERS):
        yield


async def send_mail(gateway: Traced, text: str) -> None:
    port, recipients = gateway.port("mail"), ["b@example.org"]
    await aiosmtplib.send(text, sender="a@example.net", recipients=recipients, hostname="127.0.0.1", port=port)


async def get(gateway: Traced, path: str, **headers: str) -> str:
    async with aiohttp.ClientSession() as client, client.get(gateway.url(path), headers=headers) as answer:
        return await answer.text()


async def test_a_request() -> None:
    async with traced(ALL) as gateway:
        went_on = await get(gateway, "/shop?token=secret", traceparent=SENT, tracestate="vendor=1")
        span = await gateway.span("GET ^")
        assert (span.kind, span.trace, span.parent, span.failed) == ("server", TRACE, SPAN, False)
        assert went_on == f"00-{TRACE}-{span.id}-01", "what the handler calls continues the trace"
        assert span.service == "gateway"
        known = {name: value for name, value in span.attributes.items() if name != "gateway.event.id"}
        assert known == {
            "gateway.scope": "http",
            "gateway.server": "web",
            "http.request.method": "GET",
            "http.route": "^",
            "http.response.status_code": 201,
            "url.path": "/shop",
            "url.scheme": "http",
            "network.protocol.version": "1.1",
        }
        await get(gateway, "/broken")
        broken = await gateway.span("GET ^", lambda each: each.failed)
        assert broken.attributes["error.type"] == "KeyError"
        assert "a secret" not in str(broken)


async def test_spans_of_an_application_are_below_ours() -> None:
    """In a thread, and on the loop."""
    async with traced(NONE) as gateway:
        for path, called, own in (("thread", "Thread.handle", "a query"), ("loop", "Loop.handle", "a call")):
            assert await get(gateway, f"/{path}") == "done"
            request, handler, inner = [await gateway.span(name) for name in (f"GET ^{path}", called, own)]
            assert handler.parent == request.id
            assert inner.parent == handler.id
            assert len({each.trace for each in (request, handler, inner)}) == 1


async def test_a_stranger_joins_no_trace() -> None:
    async with traced(NONE) as gateway:
        await get(gateway, "/", traceparent=SENT)
        request = await gateway.span("GET ^")
        device = Device(gateway.port("devices"))
        await device.publish("sensors/1/temperature", traceparent=SENT)
        device.close()
        reading = await gateway.span("process sensors/+/temperature")
        await send_mail(gateway, f"Traceparent: {SENT}\r\nFrom: a@example.net\r\nSubject: hello\r\n\r\nhello")
        mail = await gateway.span("process @example.org")
        for span in (request, reading, mail):
            assert span.trace != TRACE
            assert span.parent == ""
            assert span.links == ((TRACE, SPAN),)


async def test_whom_one_trusts_decides_what_is_traced() -> None:
    async with traced(ALL.replace("100%", "0%")) as gateway:
        for sent in (UNSAMPLED, "", "00-0-0-01", SENT):
            await get(gateway, "/", **({"traceparent": sent} if sent else {}))
        span = await gateway.span("GET ^")
        assert span.trace == TRACE
        assert len(gateway.collector.spans) == 1


async def test_a_websocket() -> None:
    """Its handshake has a span, and so has each message: none for receiving and sending."""
    async with traced(ALL) as gateway, aiohttp.ClientSession() as client:
        async with client.ws_connect(gateway.url("/chat/", "ws"), headers={"traceparent": SENT}) as socket:
            handshake = await gateway.span("GET ^chat/")
            assert (handshake.kind, handshake.trace, handshake.parent) == ("server", TRACE, SPAN)
            assert handshake.attributes["http.response.status_code"] == 101
            for text in ("hello", "again"):
                await socket.send_str(text)
                assert (await socket.receive()).data == text.upper()
        await until(lambda: len(gateway.collector.named("Chat.receive")) == 2)
        await until(lambda: len(gateway.collector.named("process ^chat/")) == 2)
        messages = gateway.collector.named("process ^chat/")
        assert len({each.trace for each in (*messages, handshake)}) == 3
        for message in messages:
            assert message.links == ((TRACE, handshake.id),)
            [handler] = gateway.collector.below(message)
            assert handler.name == "Chat.receive"
            assert message.attributes["messaging.message.body.size"] == 5


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_an_mqtt_message(qos: int) -> None:
    async with traced(ALL) as gateway:
        device = Device(gateway.port("devices"))
        await device.publish("sensors/1/temperature", qos=qos, traceparent=SENT)
        message = await gateway.span("process sensors/+/temperature")
        handler = await gateway.span("Sensors.receive")
        device.close()
        assert (message.kind, message.trace, message.parent) == ("consumer", TRACE, SPAN)
        assert (handler.kind, handler.parent) == ("internal", message.id)
        assert message.attributes["messaging.system"] == "mqtt"
        assert message.attributes["messaging.destination.template"] == "sensors/+/temperature"
        assert message.attributes["messaging.operation.type"] == "process"
        assert "sensors/1" not in str(message), "never the topic"
        assert gateway.collector.named("GET") == []


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_message_begins_when_it_is_read(qos: int) -> None:
    """It may wait in the queue of its connection, which is where the time of a slow handler goes."""
    async with traced(NONE) as gateway:
        device, began = Device(gateway.port("devices")), time.time_ns()
        sent = [asyncio.ensure_future(device.publish(f"waits/{number}", qos=qos)) for number in range(2)]
        await device.subscribe("later")  # what came before this has been read
        released = time.time_ns()
        sys.modules["traced_handlers"].gate.set()
        await asyncio.gather(*sent)
        await device.publish("waits/3", qos=1)  # of QoS 0, one ends when the application asks for the next
        await until(lambda: len(gateway.collector.named("process waits/+")) == 3)
        device.close()
        first, second, last = sorted(gateway.collector.named("process waits/+"), key=lambda span: span.began)
        assert began < first.began <= second.began < released
        assert qos == 0 or released < first.ended <= second.ended, "at QoS 0 the router has asked for the next"
        assert released < last.began
        handler = gateway.collector.below(second)[0]
        assert handler.began >= released, "and its handler when that is called"


async def test_a_handler_that_fails() -> None:
    async with traced(ALL) as gateway:
        device = Device(gateway.port("devices"))
        await device.publish("failing/1", b"broken")
        handler = await gateway.span("Sensors.receive")
        processed = await gateway.span("process failing/+")
        device.close()
        for span in (handler, processed):
            assert span.failed
            assert span.attributes["error.type"] == "KeyError"
            assert "a secret" not in str(span)
        assert processed.attributes["gateway.verdict"] == "dead"


@pytest.mark.parametrize("topic", ["threads/1", "kept/1"])
async def test_what_a_handler_publishes_continues_the_trace(topic: str) -> None:
    """At once, and from the store."""
    async with traced(ALL) as gateway:
        device = Device(gateway.port("devices"))
        await device.subscribe("answers")
        await device.publish(topic, traceparent=SENT)
        created = await gateway.span("create mqtt")
        row, handler = await gateway.span("a row"), await gateway.span("OnThread.receive")
        await until(lambda: device.got)
        device.close()
        assert dict(device.got[0].properties.UserProperty) == {"traceparent": f"00-{TRACE}-{created.id}-01"}
        assert (created.kind, created.parent, row.parent) == ("producer", row.id, handler.id)
        if topic == "kept/1":
            stored, processed = await gateway.span("receive kept/+"), await gateway.span("process kept/+")
            assert (stored.parent, processed.parent, handler.parent) == (SPAN, stored.id, processed.id)
            assert stored.attributes["gateway.event.id"] == processed.attributes["gateway.event.id"] != ""
            left = await gateway.span("send mqtt")
            assert (left.kind, left.parent, left.trace) == ("client", created.id, TRACE)


async def test_a_batch_belongs_to_one_and_has_links_to_the_others() -> None:
    async with traced(ALL) as gateway:
        device = Device(gateway.port("devices"))
        await asyncio.gather(*(device.publish(f"batches/{number}") for number in range(3)))
        batch, rows = await gateway.span("Batch.receive_batch"), await gateway.span("rows")
        created = await gateway.span("create mqtt")
        await until(lambda: len(gateway.collector.named("process batches/+")) == 3)
        device.close()
        first, *others = gateway.collector.named("process batches/+")
        messages = {each.id: each for each in (first, *others)}
        assert len({each.trace for each in messages.values()}) == 3
        assert batch.trace == messages[batch.parent].trace
        assert {batch.parent, *(span for _, span in batch.links)} == messages.keys()
        assert batch.attributes["messaging.batch.message_count"] == 3
        assert (rows.parent, created.parent) == (batch.id, rows.id)


async def test_an_application_of_its_own_finds_the_span() -> None:
    async with traced(ALL) as gateway:
        device = Device(gateway.port("devices"))
        await device.publish("plain/1", traceparent=SENT)
        device.close()
        message, own = await gateway.span("process plain/+"), await gateway.span("by hand")
        assert (message.parent, own.parent) == (SPAN, message.id)


async def test_mail_and_texts_are_all_traced() -> None:
    async with traced(ALL.replace("100%", "0%")) as gateway:
        for subject in ("hello", "bad"):
            with contextlib.suppress(aiosmtplib.SMTPDataError):  # which the second gets
                await send_mail(gateway, f"From: a@example.net\r\nSubject: {subject}\r\n\r\nhello")
        await until(lambda: len(gateway.collector.named("process @example.org")) == 2)
        verdicts = [each.attributes["gateway.verdict"] for each in gateway.collector.named("process @example.org")]
        assert verdicts == ["accept", "reject"]
        await SMS("+447700900123", "hello").send(gateway.peer("texts"))
        text_span: Any = await gateway.span("process +44")
        assert text_span.kind == "consumer"
        assert (await gateway.span("Texts.receive")).parent == text_span.id


async def test_a_text_belongs_to_the_request_that_brings_it() -> None:
    async with traced(ALL) as gateway:
        await SMS("+447700900123", "hello").send(gateway.peer("texts"))
        text = await gateway.span("process +44")
        request = await gateway.span("POST /hooks/texts", lambda span: span.id == text.parent)
        assert request.trace == text.trace


async def test_other_code_traces_nothing_of_a_message_that_is_not_traced() -> None:
    """Its spans would be pieces without a beginning."""
    async with traced(NONE.replace("100%", "0%")) as gateway:
        for _ in range(20):
            assert await get(gateway, "/thread") == "done"
        await send_mail(gateway, "From: a@example.net\r\nSubject: hello\r\n\r\nhello")
        await gateway.span("process @example.org")
        assert {each.name for each in gateway.collector.spans} <= {"process @example.org", "Help.receive"}


async def test_nothing_is_kept_of_what_has_ended() -> None:
    async with traced(ALL) as gateway:
        device = Device(gateway.port("devices"))
        for qos in (0, 1, 2):
            await device.publish("sensors/1/temperature", qos=qos)
        await get(gateway, "/")
        await send_mail(gateway, "From: a@example.net\r\nSubject: hello\r\n\r\nhello")
        await gateway.span("process @example.org")
        device.close()
        await until(lambda: len(gateway.collector.named("process sensors/+/temperature")) == 3)
        runs = service._Process.runs
        assert runs is not None
        await until(lambda: not runs._open)


async def test_a_scope_type_whose_tracing_fails_is_handled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("attributes", "verdict", "span_name"):
        with monkeypatch.context() as broken:
            broken.setattr(TracedHTTP, name, lambda *_: 1 / 0)
            async with traced(ALL) as gateway:
                assert await get(gateway, "/thread") == "done"


async def test_a_message_from_a_broker() -> None:
    """The broker is another gateway, which passes user properties on."""
    async with traced(ALL) as broker:
        url = f"mqtt://127.0.0.1:{broker.port('devices')}"
        plant = f'\n  plant: {{protocol: mqtt-client, url: "{url}", subscribe: ["sensors/#"]}}\n'
        client = ALL.replace("\nroutes:", plant + "routes:").replace("traced.db", "client.db")
        async with traced(client.replace("trust: [", "trust: [plant, ")) as gateway:
            await until(lambda: gateway.gateway.servers.named("plant").status.state == "ready")
            device = Device(broker.port("devices"))
            await device.publish("sensors/1/temperature", traceparent=SENT)
            span = await gateway.span(
                "process sensors/+/temperature", lambda each: each.attributes["gateway.server"] == "plant"
            )
            device.close()
            assert (span.trace, span.parent) == (TRACE, SPAN)


async def test_a_text_of_the_outbox_and_code_without_a_scope() -> None:
    async with traced(ALL) as gateway:
        await get(gateway, "/publishes", traceparent=SENT)
        created = await gateway.span("create mqtt")
        sent = await gateway.span("send mqtt")
        request = await gateway.span("GET ^publishes")
        assert (created.trace, created.parent, sent.parent) == (TRACE, request.id, created.id)
