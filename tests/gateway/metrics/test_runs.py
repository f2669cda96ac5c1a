"""Every run of an application is counted, behind every server and for every scope type, from one hook."""

import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from servers.prometheus import lint
from waiting import until

from gateway import services
from gateway.config.loader import parse
from gateway.counts import BOUNDS, MOST_ROUTES, run_counts
from gateway.metrics.exposition import render
from gateway.metrics.process import snapshot
from gateway.metrics.snapshot import Snapshot
from gateway.metrics.table import FAMILIES
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway
from gateway.scopes.sending import Peer
from gateway.scopes.sms.send import SMS
from protocols.mqtt.client.broker_connection import BrokerConnection
from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.refused import Refused
from protocols.mqtt.client.session import ClientSession
from protocols.units import TCP

HANDLERS = """
import asyncio
from gateway import AsyncEmailConsumer, AsyncMqttConsumer, AsyncSMSConsumer, AsyncWebsocketConsumer

async def page(scope, receive, send):
    if scope["path"] == "/broken":
        raise KeyError("order")
    if scope["path"] == "/slow":
        await asyncio.sleep(0.02)
    status = int(scope["query_string"] or b"200")
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body"})

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
        if payload == b"slow":
            await asyncio.sleep(0.3)
        if payload == b"no":
            self.reject_message(0x99)

class Help(AsyncEmailConsumer):
    async def receive(self, message):
        if message["subject"] == "broken":
            raise KeyError("ticket")
        if message["subject"] == "spam":
            await self.reject("no", code=554)
        if message["subject"] == "later":
            await self.defer("later")

class Texts(AsyncSMSConsumer):
    async def receive(self, text, media):
        if text == "spam":
            await self.reject("no")
"""
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:0"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0", websocket: {on: web, path: /mqtt}}
  mail: {protocol: smtp, bind: "127.0.0.1:0"}
  texts: {protocol: sms, provider: generic, on: web, path: /hooks/sms, secret: s3cret}
routes:
  http: [{path: "^page|broken|slow", app: counted_handlers.page}, {path: "^unused", app: counted_handlers.page}]
  websocket: [{path: "^chat/", app: counted_handlers.Chat}]
  mqtt: [{topic: sensors/+, app: counted_handlers.Sensors}, {topic: alarms/#, app: counted_handlers.Sensors}]
  email:
    - {address: help@example.org, app: counted_handlers.Help}
    - {address: sales@example.org, app: counted_handlers.Help, attempts: 5}
  sms: [{sender: "+44", app: counted_handlers.Texts}]
store: sqlite:counted.db
log: {level: error}
"""
CLOSED = """
servers:
  web: {protocol: http, bind: "127.0.0.1:0"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0", users: {}}
  mail: {protocol: smtp, bind: "127.0.0.1:0"}
routes:
  http: counted_handlers.page
  mqtt: counted_handlers.Sensors
  email: [{address: help@example.org, app: counted_handlers.Help}]
log: {level: error}
"""
ONE = """
servers: {web: {protocol: http, bind: "127.0.0.1:0"}}
routes: {http: counted_handlers.page}
log: {level: error}
"""
PAGE = "^page|broken|slow -> counted_handlers.page"
SENSORS = "sensors/+ -> counted_handlers.Sensors"


class Site:
    """A gateway that runs, clients for it, and its numbers."""

    def __init__(self, running: RunningGateway) -> None:
        self.running = running
        self.gateway = running.gateway

    def port(self, name: str) -> int:
        return int(self.gateway.servers.named(name).address.rpartition(":")[2])

    def peer(self, name: str) -> Peer:
        on = getattr(self.gateway.settings.servers[name], "on", name)
        return Peer(name, self.gateway.settings.servers[name], TCP("127.0.0.1", self.port(on)))

    async def get(self, path: str) -> int:
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{self.port('web')}{path}") as answer,
        ):
            await answer.read()
            return answer.status

    async def mail(self, subject: str, *to: str) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "ann@example.net", ", ".join(to), subject
        with contextlib.suppress(aiosmtplib.SMTPException):
            await aiosmtplib.send(message, hostname="127.0.0.1", port=self.port("mail"))

    async def device(self, client_id: str) -> BrokerConnection:
        options = ConnectOptions("", "127.0.0.1", self.port("devices"), client_id, clean_start=True, timeout=10)
        connection = await BrokerConnection.connect(options, ClientSession())
        connection.deliver(lambda message: None)
        return connection

    async def snapshot(self) -> Snapshot:
        return await snapshot(self.running.succession)

    async def read(self, name: str) -> dict[tuple[str, ...], Any]:
        return {tuple(labels): value for labels, value in (await self.snapshot())[name]}

    async def counted(self, name: str = "gateway_runs_total") -> dict[tuple[str, ...], Any]:
        """Those that are not 0."""
        return {labels: value for labels, value in (await self.read(name)).items() if value}


@pytest.fixture(autouse=True)
def _handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "counted_handlers.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "counted_handlers", raising=False)
    importlib.invalidate_caches()
    before = services.install({})
    yield
    services.install(before)


@contextlib.asynccontextmanager
async def site(file: str = FILE) -> AsyncIterator[Site]:
    running = RunningGateway(build(parse(file, name="counted.yaml", folder=Path())))
    await install(running)
    try:
        yield Site(running)
    finally:
        await running.drain()
        await running.shut_down()
        await running.close()


async def becomes(here: Site, expected: dict[tuple[str, ...], Any], name: str = "gateway_runs_total") -> None:
    """A run ends a turn after its client has the answer."""
    with contextlib.suppress(TimeoutError):  # the comparison below tells what differs
        await until(lambda: _equals(here, expected, name))
    assert await here.counted(name) == expected


async def _equals(here: Site, expected: dict[tuple[str, ...], Any], name: str) -> bool:
    return await here.counted(name) == expected


async def test_requests() -> None:
    async with site() as here:
        for path, times in (
            ("/page", 3),
            ("/page?404", 2),
            ("/page?503", 1),
            ("/broken", 2),
            ("/nowhere", 4),
            ("/slow", 1),
        ):
            for _ in range(times):
                await here.get(path)
        route = "web", "http", PAGE
        await becomes(
            here,
            {(*route, "2xx"): 4, (*route, "4xx"): 2, (*route, "5xx"): 3, ("web", "http", "none", "4xx"): 4},
        )
        durations = await here.read("gateway_run_duration_seconds")
        assert sum(durations[route]["counts"]) == 9
        assert 0.02 < durations[route]["sum"] < 10
        assert sum(durations[route]["counts"][4:]) >= 1, "the slow one is above 10 ms"


async def test_websockets() -> None:
    async with site() as here:
        url, route = f"ws://127.0.0.1:{here.port('web')}", ("web", "websocket", "^chat/ -> counted_handlers.Chat")
        events = ("web", "websocket")
        async with aiohttp.ClientSession() as client:
            async with client.ws_connect(f"{url}/chat/") as socket:
                for _ in range(5):
                    await socket.send_str("hello")
                    await socket.receive()
                assert (await here.counted("gateway_connection_events_total"))[events] == 6
                assert (await here.counted("gateway_in_flight"))[events] == 1
            async with client.ws_connect(f"{url}/chat/") as socket:
                await socket.send_bytes(b"crash")
                await socket.receive()
            for path in ("/chat/closed", "/no"):
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await client.ws_connect(f"{url}{path}")
        expected = {"accepted": 1, "failed": 1, "4xx": 1}
        await becomes(
            here,
            {(*route, verdict): number for verdict, number in expected.items()}
            | {("web", "websocket", "none", "4xx"): 1},
        )
        assert await here.counted("gateway_run_duration_seconds") != {}
        assert all(kind != "websocket" for _, kind, _ in await here.read("gateway_run_duration_seconds"))


async def test_mqtt() -> None:
    async with site() as here:
        route = "devices", "mqtt", SENSORS
        broker = await here.device("thermometer")
        for qos, payload, times in ((0, b"1", 5), (1, b"1", 2), (1, b"slow", 1), (2, b"1", 2), (1, b"no", 2)):
            for _ in range(times):
                with contextlib.suppress(Exception):
                    await broker.publish("sensors/1", payload, qos, False, {})
        await broker.publish("elsewhere", b"", 1, False, {})
        await becomes(here, {route: 12, ("devices", "mqtt", "none"): 1}, "gateway_routed_messages_total")
        answers = {(*route, "accepted"): 5, (*route, "rejected"): 2}
        await becomes(here, answers, "gateway_routed_message_answers_total")
        took = (await here.counted("gateway_routed_message_duration_seconds"))[route]
        assert 3 <= sum(took["counts"]) <= 7, "none at QoS 0, and not each that came close behind another one"
        assert sum(took["counts"][BOUNDS.index(0.25) + 1 :]) >= 1, "the slow one"
        assert took["sum"] > 0.25, "uvloop may wake a sleeper up to a millisecond early"
        assert (await here.counted("gateway_in_flight"))["devices", "mqtt"] == 1
        assert await here.counted("gateway_connection_events_total") == {("devices", "mqtt"): 14}
        await broker.close()
        await becomes(here, {("devices", "mqtt", "none", "accepted"): 1})
        assert await here.counted("gateway_connection_events_total") == {("devices", "mqtt"): 15}


async def test_all_messages_of_a_burst_are_counted_and_some_are_timed() -> None:
    async with site() as here:
        route = "devices", "mqtt", SENSORS
        broker = await here.device("thermometer")
        payloads = [b"slow", *[b"1"] * 63]  # the first one holds up the others until they are all there
        async with asyncio.TaskGroup() as group:
            for payload in payloads:
                group.create_task(broker.publish("sensors/1", payload, 1, False, {}))
        await becomes(here, {(*route, "accepted"): 64}, "gateway_routed_message_answers_total")
        timed = (await here.counted("gateway_routed_message_duration_seconds"))[route]["counts"]
        assert 4 <= sum(timed) < 32
        await broker.close()


async def test_what_an_http_server_carries_is_the_other_servers() -> None:
    async with site() as here:
        over_web = replace(here.peer("web"), carried=here.peer("texts").settings)
        for text in ("hello", "spam"):
            await SMS("+447700900123", text).send(over_web)
        await here.get("/page")
        texts = "texts", "sms", "+44 -> counted_handlers.Texts"
        await becomes(
            here,
            {
                (*texts, "accepted"): 1,
                (*texts, "rejected"): 1,
                ("web", "http", "/hooks/sms -> servers.texts", "2xx"): 2,
                ("web", "http", PAGE, "2xx"): 1,
            },
        )


async def test_mail() -> None:
    async with site() as here:
        for subject in ("Hello", "Hello", "spam", "broken", "later"):
            await here.mail(subject, "help@example.org")
        await here.mail("broken", "sales@example.org")
        await here.mail("Hello", "sales@example.org")
        helped, sales = (
            ("mail", "email", f"{name}@example.org -> counted_handlers.Help") for name in ("help", "sales")
        )
        await becomes(
            here,
            {
                (*helped, "accepted"): 2,
                (*helped, "rejected"): 1,
                (*helped, "failed"): 1,
                (*helped, "deferred"): 1,
                (*sales, "deferred"): 1,
                (*sales, "accepted"): 1,
            },
        )


async def test_what_is_refused_before_any_application_gets_it() -> None:
    async with site(CLOSED) as here:
        for request in (b"GARBAGE\r\n\r\n", b"CONNECT evil:80 HTTP/1.1\r\nHost: evil\r\n\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", here.port("web"))
            writer.write(request)
            await reader.read(1)
            writer.close()
        await here.mail("Hello", "nobody@example.org")
        with pytest.raises(Refused):
            await here.device("stranger")
        expected = {("web", "400"): 1, ("web", "501"): 1, ("mail", "550"): 1, ("devices", "0x87"): 1}
        await becomes(here, expected, "gateway_refusals_total")
        assert await here.counted() == {}


async def test_a_mail_to_nobody_is_not_counted_for_the_route_of_the_one_before() -> None:
    async with site() as here:
        await here.mail("Hello", "help@example.org")
        await here.mail("Hello", "help@example.org", "sales@example.org")
        helped = "mail", "email", "help@example.org -> counted_handlers.Help"
        await becomes(here, {(*helped, "accepted"): 1, ("mail", "email", "none", "accepted"): 1})


async def test_every_series_that_is_known_starts_at_0() -> None:
    async with site() as here:
        runs = await here.read("gateway_runs_total")
        assert set(runs.values()) == {0}
        assert {verdict for *_, route, verdict in runs if route == PAGE} == {"2xx", "3xx", "4xx", "5xx", "client left"}
        assert ("web", "http", "^unused -> counted_handlers.page", "5xx") in runs
        assert ("texts", "sms", "none", "failed") in runs
        assert ("devices", "mqtt", SENSORS) in await here.read("gateway_routed_messages_total")
        assert await here.read("gateway_connection_events_total") == {("web", "websocket"): 0, ("devices", "mqtt"): 0}
        assert ("mail", "email") in await here.read("gateway_in_flight")


async def test_promtool_has_nothing_to_say_about_it() -> None:
    async with site() as here:
        await here.get("/page")
        await here.mail("Hello", "help@example.org")
        _, text = render(FAMILIES, await here.snapshot(), "")
        assert await asyncio.to_thread(lint, text.decode()) == ""


async def test_a_thousand_routes_stay_bounded() -> None:
    routes = "".join(f'    - {{path: "^number{number}$", app: counted_handlers.page}}\n' for number in range(1000))
    async with site(f'servers: {{web: {{protocol: http, bind: "127.0.0.1:0"}}}}\nroutes:\n  http:\n{routes}') as here:
        for number in (1, 500, 999, 999):
            await here.get(f"/number{number}")
        first = "web", "http", "^number1$ -> counted_handlers.page", "2xx"
        await becomes(here, {first: 1, ("web", "http", "other", "2xx"): 3})
        routes_seen = {route for _, _, route, _ in await here.read("gateway_runs_total")}
        assert len(routes_seen) == MOST_ROUTES + 2, "none and other"


async def test_nothing_that_comes_from_outside_is_in_a_label() -> None:
    evil = 'evil"}\n# HELP x'
    async with site() as here:
        async with aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{here.port('web')}/page/evil?404"
            async with client.get(url, headers={"user-agent": 'evil"}', "host": "evil"}) as answer:
                await answer.read()
        broker = await here.device(evil.replace("\n", " "))
        await broker.publish(evil.replace("\n", " ").replace("#", "-"), evil.encode(), 1, False, {})
        await broker.publish("sensors/evil", evil.encode(), 1, False, {})
        await broker.close()
        await here.mail(evil.replace("\n", " "), "help@example.org")
        await here.mail("Hello", '"evil\\""@example.org')
        await here.device("evil\\")
        await until(lambda: _has_ended(here))
        assert "evil" not in str(await here.snapshot())


async def _has_ended(here: Site) -> bool:
    return sum((await here.counted()).values()) >= 3


async def test_each_of_many_requests_at_once_is_counted_with_its_status_and_duration() -> None:
    async with site() as here:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{here.port('web')}") as client:

            async def get(path: str) -> None:
                async with client.get(path) as answer:
                    await answer.read()

            for _ in range(3):
                paths = [*["/page"] * 200, *["/page?404"] * 50, *["/slow"] * 10, "/broken", "/nowhere"]
                await asyncio.gather(*map(get, paths))
        page = "web", "http", PAGE
        nowhere = "web", "http", "none", "4xx"
        await becomes(here, {(*page, "2xx"): 630, (*page, "4xx"): 150, (*page, "5xx"): 3, nowhere: 3})
        took = (await here.read("gateway_run_duration_seconds"))[page]
        assert sum(took["counts"]) == 783
        assert sum(took["counts"][BOUNDS.index(0.025) :]) >= 30
        assert took["sum"] >= 30 * 0.02


async def test_a_route_is_busy_as_long_as_requests_come() -> None:
    async with site() as here:
        server: Any = here.gateway.servers.named("web")
        await asyncio.gather(*(here.get("/page") for _ in range(20)))
        assert PAGE in server.service.busy
        await until(lambda: not server.service.busy)
        await here.get("/page")
        await becomes(here, {("web", "http", PAGE, "2xx"): 21})


async def test_requests_after_a_reload_are_counted_by_the_new_gateway() -> None:
    async with site(ONE) as here:
        await asyncio.gather(*(here.get("/page") for _ in range(20)))
        new = RunningGateway(build(parse(ONE, name="counted.yaml", folder=Path()), before=here.gateway))
        await install(new, here.running)
        there = Site(new)
        try:
            await asyncio.gather(*(there.get("/page") for _ in range(30)))
            await until(lambda: _requests(new) == 30)
            assert _requests(here.running) == 20
        finally:
            await new.drain()
            await new.shut_down()
            await new.close()


def _requests(running: RunningGateway) -> int:
    by_route = running.gateway.services[run_counts].of("web").runs.found["http"].values()
    return sum(sum(durations.together().counts) for durations in by_route)


async def test_a_scrape_lets_the_loop_turn_with_many_connections() -> None:
    async with site() as here:
        broker = await here.device("one")
        counts = here.gateway.services[run_counts].of("devices")
        [run] = counts.open
        copies = [_Copy(run.scope) for _ in range(200_000)]
        counts.open.update(copies)
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(turn())
        assert (await here.counted("gateway_connection_events_total"))["devices", "mqtt"] >= 200_000
        task.cancel()
        assert turns > 2
        counts.open.difference_update(copies)
        await broker.close()


class _Copy:
    received = 1

    def __init__(self, scope: Any) -> None:
        self.scope = scope
