"""Everything that arrives is heard, by every protocol, and what became of it."""

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from waiting import until

from gateway import services
from gateway.arrivals import Arrival, arrivals
from gateway.config.loader import parse
from gateway.control.recent import Recent
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway
from gateway.scopes.mqtt.send import MQTT
from gateway.scopes.sending import Peer
from gateway.scopes.sms.send import SMS
from protocols.app_run import observed
from protocols.mqtt.client.broker_connection import BrokerConnection
from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.refused import Refused
from protocols.mqtt.client.session import ClientSession
from protocols.units import TCP

HANDLERS = """
from gateway import AsyncEmailConsumer, AsyncMqttConsumer, AsyncSMSConsumer, AsyncWebsocketConsumer

async def shop(scope, receive, send):
    if scope["path"] == "/broken":
        raise KeyError("order")
    await receive()
    await send({"type": "http.response.start", "status": 201})
    await send({"type": "http.response.body", "body": b"ma", "more_body": True})
    await send({"type": "http.response.body", "body": b"de"})

class Chat(AsyncWebsocketConsumer):
    async def connect(self, message):
        if self.scope["path"] == "/chat/closed":
            await self.close()
        else:
            await self.accept()

    async def receive(self, text, bytes=None):
        await self.send(text.upper())

class Sensors(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        if payload == b"broken":
            raise KeyError("celsius")

class Never(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        self.reject_message(0x99)

class Help(AsyncEmailConsumer):
    async def receive(self, message):
        if message["subject"] == "broken":
            raise KeyError("ticket")
        if message["subject"] == "spam":
            await self.reject("no", code=554)

class Sales(AsyncEmailConsumer):
    tries = 0
    async def receive(self, message):
        Sales.tries += 1
        if Sales.tries == 1:
            raise KeyError("offer")
        await self.send("bob@example.net", subject="An offer", text="See above")

class Door(AsyncMqttConsumer):
    async def connect(self, message):
        if self.scope["client_id"] == "broken":
            raise KeyError("door")
        if self.scope["client_id"] == "banned":
            await self.reject(0x8A)

class Texts(AsyncSMSConsumer):
    async def receive(self, text, media):
        pass
"""
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:0"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0", websocket: {on: web, path: /mqtt}}
  mail: {protocol: smtp, bind: "127.0.0.1:0"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: s3cret}
routes:
  http:
    - {path: "^shop|broken", app: arrival_handlers.shop}
    - {path: "^hooks/shop", app: arrival_handlers.shop, inbox: true, verify: {scheme: none}}
  websocket: [{path: "^chat/", app: arrival_handlers.Chat}]
  mqtt:
    - {topic: sensors/+, app: arrival_handlers.Sensors}
    - {topic: never, app: arrival_handlers.Never}
    - {topic: kept, app: arrival_handlers.Sensors, inbox: true, backoff: 0.01s, attempts: 1}
  email:
    - {address: help@example.org, app: arrival_handlers.Help, attempts: 5}
    - {address: sales@example.org, app: arrival_handlers.Sales, inbox: true, backoff: 0.01s}
  sms: [{sender: "+44", app: arrival_handlers.Texts}]
store: sqlite:arrivals.db
submission: {url: "file:outbox"}
log: {level: error}
"""


class Heard(list[Arrival]):
    """The arrivals of a gateway that runs, and clients for it."""

    def __init__(self, running: RunningGateway) -> None:
        super().__init__()
        self.gateway = running.gateway
        self.service = running.gateway.services[arrivals]
        self.stop = lambda: None

    def listen(self, **options: Any) -> None:
        self.stop = self.service.listen(self.append, **options)

    def port(self, name: str) -> int:
        return int(self.gateway.servers.named(name).address.rpartition(":")[2])

    def peer(self, name: str) -> Peer:
        """The server ``name``, for clients of `gateway send`."""
        on = getattr(self.gateway.settings.servers[name], "on", name)
        return Peer(name, self.gateway.settings.servers[name], TCP("127.0.0.1", self.port(on)))

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port('web')}{path}"

    async def next(self, event: str) -> Arrival:
        """The first that such an event has brought, without those before it."""
        await until(lambda: any(each.event == event for each in self))
        found = next(each for each in self if each.event == event)
        self.remove(found)
        return found


@pytest.fixture(autouse=True)
def _handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """They are in the folder where the test works, and no gateway is installed after it."""
    (tmp_path / "arrival_handlers.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "arrival_handlers", raising=False)
    before = services.install({})
    yield
    services.install(before)


@contextlib.asynccontextmanager
async def listening(file: str = FILE, **options: Any) -> AsyncIterator[Heard]:
    running = RunningGateway(build(parse(file, name="arrivals.yaml", folder=Path())))
    await install(running)
    heard = Heard(running)
    heard.listen(**options)
    try:
        yield heard
    finally:
        await running.drain()
        await running.shut_down()
        await running.close()
    assert observed.by is None, "whoever listens to a gateway hears no more after its end"


@pytest.mark.parametrize("aborted", [False, True])
async def test_the_log_and_what_the_daemon_remembers_end_with_the_gateway(aborted: bool) -> None:
    log = FILE.replace("log: {level: error}", "log: {level: error, arrivals: true}")
    running = RunningGateway(build(parse(log, name="arrivals.yaml", folder=Path())))
    await install(running)
    Recent().start()
    assert observed.by is not None
    if aborted:
        await running.abort()
    else:
        await running.drain()
        await running.shut_down()
        await running.close()
    assert observed.by is None


def said(arrival: Arrival) -> tuple[str, ...]:
    return arrival.type, arrival.server, arrival.what, arrival.route, arrival.target, arrival.verdict, arrival.error


async def test_requests() -> None:
    async with listening() as heard, aiohttp.ClientSession() as client:
        for path in ("/shop?token=secret", "/broken", "/nowhere"):
            async with client.get(heard.url(path)) as answer:
                await answer.read()
        shop = await heard.next("http.request")
        target = "arrival_handlers.shop"
        assert said(shop) == ("http", "web", "GET /shop", "^shop|broken", target, "201", "")
        assert shop.who.startswith("127.0.0.1:")
        assert shop.id
        assert 0 < shop.seconds < 10
        broken = await heard.next("http.request")
        assert said(broken) == ("http", "web", "GET /broken", "^shop|broken", target, "500", "KeyError 'order'")
        nowhere = await heard.next("http.request")
        assert said(nowhere) == ("http", "web", "GET /nowhere", "", "", "404", "")
        assert "secret" not in str(shop.facts())


async def test_websockets() -> None:
    async with listening() as heard, aiohttp.ClientSession() as client:
        async with client.ws_connect(heard.url("/chat/", "ws")) as socket:
            await socket.send_str("hello")
            assert (await socket.receive()).data == "HELLO"
            await socket.send_bytes(b"crash")
            await socket.receive()
        route = "^chat/", "arrival_handlers.Chat"
        assert said(await heard.next("websocket.connect")) == ("websocket", "web", "/chat/", *route, "accepted", "")
        taken = ("websocket", "web", "/chat/ 5 characters", *route, "taken", "")
        assert said(await heard.next("websocket.receive")) == taken
        end = await heard.next("websocket.disconnect")
        assert end.verdict == "closed, 1011"
        assert end.error.startswith("AttributeError")
        for path, taken_by in (("/chat/closed", route), ("/no", ("", ""))):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await client.ws_connect(heard.url(path, "ws"))
            refused = ("websocket", "web", path, *taken_by, "rejected, 403", "")
            assert said(await heard.next("websocket.connect")) == refused


def device(topic: str, payload: bytes = b"21.5", qos: int = 1) -> MQTT:
    return MQTT(topic, payload, qos)


async def test_mqtt() -> None:
    async with listening() as heard:
        sensors = "sensors/+", "arrival_handlers.Sensors"
        for qos, verdict in ((0, "taken"), (1, "acknowledged"), (2, "acknowledged")):
            await device("sensors/1", qos=qos).send(heard.peer("devices"))
            connect = await heard.next("mqtt.connect")
            assert said(connect) == ("mqtt", "devices", "connect", "", "", "accepted", "")
            message = await heard.next("mqtt.receive")
            assert said(message) == ("mqtt", "devices", "sensors/1", *sensors, verdict, "")
            assert message.who == connect.who
        for topic, payload, route, verdict, error in (
            ("sensors/1", b"broken", sensors, "not acknowledged", "KeyError 'celsius'"),
            ("never", b"", ("never", "arrival_handlers.Never"), "rejected, 0x99", ""),
            ("elsewhere", b"", ("", ""), "acknowledged", ""),
        ):
            await device(topic, payload).send(heard.peer("devices"))
            message = await heard.next("mqtt.receive")
            assert said(message) == ("mqtt", "devices", topic, *route, verdict, error)


DOOR = """
servers: {devices: {protocol: mqtt, bind: "127.0.0.1:0", connect_timeout: 0.05s}}
routes: {mqtt: arrival_handlers.Door}
log: {level: error}
"""


@pytest.mark.parametrize(
    ("client_id", "verdict", "error"),
    [
        ("silent", "not answered", ""),
        ("broken", "rejected, 0x88", "KeyError 'door'"),
        ("banned", "rejected, 0x8a", ""),
    ],
)
async def test_a_device_that_does_not_get_in(client_id: str, verdict: str, error: str) -> None:
    async with listening(DOOR) as heard:
        options = ConnectOptions("", "127.0.0.1", heard.port("devices"), client_id, clean_start=True, timeout=10)
        with pytest.raises(Refused):
            await BrokerConnection.connect(options, ClientSession())
        connect = await heard.next("mqtt.connect")
        assert said(connect)[2:] == ("connect", "mqtt", "arrival_handlers.Door", verdict, error)
        assert connect.who == client_id
        assert not heard


async def test_a_device_that_connected_before_somebody_listened_is_heard() -> None:
    async with listening() as heard:
        heard.stop()
        options = ConnectOptions("", "127.0.0.1", heard.port("devices"), "thermometer", clean_start=True, timeout=10)
        broker = await BrokerConnection.connect(options, ClientSession())
        heard.listen()
        broker.deliver(lambda message: None)
        await broker.publish("sensors/1", b"21.5", 1, False, {})
        assert (await heard.next("mqtt.receive")).verdict == "acknowledged"
        assert not heard
        await broker.close()


async def test_what_is_stored_is_heard_again_when_it_is_handled() -> None:
    async with listening() as heard:
        await device("kept", b"broken").send(heard.peer("devices"))
        kept = "kept", "arrival_handlers.Sensors"
        stored = await heard.next("mqtt.receive")
        assert said(stored) == ("mqtt", "devices", "kept", *kept, "stored", "")
        dead = await heard.next("mqtt.receive")
        assert said(dead) == ("mqtt", "devices", "kept", *kept, "dead", "KeyError 'celsius'")
        assert (stored.attempt, dead.attempt) == (0, 1)
        assert stored.id == dead.id != ""


async def test_a_stored_request_names_its_server_when_it_is_handled() -> None:
    async with listening() as heard, aiohttp.ClientSession() as client:
        async with client.post(f"http://127.0.0.1:{heard.port('web')}/hooks/shop", data=b"order") as answer:
            assert answer.status == 202
        stored, handled = [await heard.next("http.request") for _ in range(2)]
        assert (stored.server, stored.verdict, handled.server, handled.verdict) == ("web", "202", "web", "done")
        assert stored.id == handled.id


async def mail(heard: Heard, subject: str, *to: str) -> str:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ann@example.net", ", ".join(to), subject
    try:
        _, said = await aiosmtplib.send(message, hostname="127.0.0.1", port=heard.port("mail"))
    except aiosmtplib.SMTPException as error:
        return str(error)
    return said


async def test_mail() -> None:
    async with listening() as heard:
        route = "help@example.org", "arrival_handlers.Help"
        for subject, verdict, error in (
            ("Hello", "accepted", ""),
            ("spam", "rejected, 554", ""),
            ("broken", "deferred", "KeyError 'ticket'"),
        ):
            answer = await mail(heard, subject, "help@example.org")
            arrived = await heard.next("email.receive")
            assert said(arrived) == ("email", "mail", "help@example.org", *route, verdict, error)
            assert arrived.who == "ann@example.net"
            assert verdict != "accepted" or arrived.id in answer


async def test_a_mail_for_two_routes_is_two_arrivals() -> None:
    async with listening() as heard:
        await mail(heard, "Hello", "help@example.org", "sales@example.org")
        help_, sales = await heard.next("email.receive"), await heard.next("email.receive")
        assert said(help_)[2:6] == ("help@example.org", "help@example.org", "arrival_handlers.Help", "accepted")
        assert said(sales)[2:6] == ("sales@example.org", "sales@example.org", "arrival_handlers.Sales", "stored")
        again, done = await heard.next("email.receive"), await heard.next("email.receive")
        assert (again.verdict, again.error, again.attempt) == ("next in 0.01 s", "KeyError 'offer'", 1)
        assert (done.verdict, done.error, done.attempt) == ("done", "", 2)
        left = await heard.next("email.send")
        assert (left.who, left.what, left.verdict, left.attempt) == ("outbox", "bob@example.net", "sent", 1)
        assert left.id.startswith(done.id)


async def test_a_text_and_the_request_that_brought_it() -> None:
    async with listening() as heard:
        await SMS("+447700900123", "Hi").send(replace(heard.peer("web"), carried=heard.peer("texts").settings))
        text = await heard.next("sms.receive")
        assert said(text) == ("sms", "texts", "+15005550006", "+44", "arrival_handlers.Texts", "accepted", "")
        assert text.who == "+447700900123"
        request = await heard.next("http.request")
        assert said(request)[3:6] == ("/hooks/sms", "servers.texts", "200")
        await SMS("+33612345678", "Salut").send(replace(heard.peer("web"), carried=heard.peer("texts").settings))
        assert said(await heard.next("sms.receive")) == ("sms", "texts", "+15005550006", "", "", "accepted", "")


async def test_content_is_there_for_those_who_ask() -> None:
    async with listening(content=True) as heard, aiohttp.ClientSession() as client:
        async with client.post(heard.url("/shop"), data=b"order 7"):
            request = await heard.next("http.request")
        assert [event["body"] for event in request.events] == [b"order 7"]
        await mail(heard, "Hello", "help@example.org")
        assert b"Subject: Hello" in (await heard.next("email.receive")).events[0]["body"]
        await device("sensors/1").send(heard.peer("devices"))
        message = await heard.next("mqtt.receive")
        assert [event["payload"] for event in message.events] == [b"21.5"]
        assert "21.5" not in str(message.facts())


async def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as heard, aiohttp.ClientSession() as client:

        def fail(arrival: Arrival) -> None:
            raise ValueError("no more room")

        stop = heard.service.listen(fail)
        async with client.get(heard.url("/shop")) as answer:
            assert answer.status == 201
        stop()
        assert (await heard.next("http.request")).verdict == "201"
