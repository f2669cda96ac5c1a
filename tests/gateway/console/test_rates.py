"""How often each route is used, fails, and how long it takes: of real traffic, over reloads."""

import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from servers.daemon import Daemon
from servers.operated import HANDLERS as PLAIN
from servers.ports import free_port
from servers.site import until as comes
from waiting import until

from gateway import services
from gateway.config.loader import parse
from gateway.console.here import Here, counters_of
from gateway.console.rates import KEPT, LATELY, Counters, RouteRates
from gateway.console.table import operations
from gateway.control.recent import Recent
from gateway.counts import MOST_ROUTES, RunCounts
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway
from protocols.mqtt.client.broker_connection import BrokerConnection
from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.session import ClientSession

HANDLERS = """
import asyncio
from gateway import AsyncMqttConsumer

async def page(scope, receive, send):
    if scope["path"] == "/page/broken":
        raise KeyError("order")
    if scope["path"] == "/page/slow":
        await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})

class Sensors(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        if payload == b"broken":
            raise KeyError("unit")
        if payload == b"slow":
            await asyncio.sleep(0.3)
"""
FILE = """
servers:
  web: {protocol: http, bind: "127.0.0.1:0"}
  devices: {protocol: mqtt, bind: "127.0.0.1:0", anonymous: true}
routes:
  http: [{path: "^page", app: rated_handlers.page}, {path: "^unused", app: rated_handlers.page}]
  mqtt: [{topic: sensors/#, app: rated_handlers.Sensors}]
log: {level: error}
"""
NOTHING = {"error_share": None, "p50": None, "p99": None, "history": []}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A gateway that runs, with a clock for its rates."""

    def __init__(self, running: RunningGateway) -> None:
        self.running = running
        self.clock = Clock()
        self.here = Here(lambda: self.running.gateway, Recent())
        self.here.rates = RouteRates(lambda: map(counters_of, self.here.gateways), self.clock)

    def port(self, name: str) -> int:
        return int(self.running.gateway.servers.named(name).address.rpartition(":")[2])

    async def get(self, *paths: str) -> None:
        async with aiohttp.ClientSession() as client:
            for path in paths:
                async with client.get(f"http://127.0.0.1:{self.port('web')}/{path}") as answer:
                    await answer.read()

    async def publish(self, *payloads: bytes, qos: int = 1) -> None:
        options = ConnectOptions("", "127.0.0.1", self.port("devices"), "thermometer", clean_start=True, timeout=10)
        broker = await BrokerConnection.connect(options, ClientSession())
        broker.deliver(lambda message: None)
        for payload in payloads:
            with contextlib.suppress(Exception):  # a crash ends the connection
                await broker.publish("sensors/1", payload, qos, False, {})
        with contextlib.suppress(Exception):
            await broker.close()

    async def routes(self) -> dict[str, Any]:
        """The rates of each route by its pattern, and those without a route by their scope type."""
        found: Any = await operations()["routes"].answer(self.here, {})
        shown = {each["pattern"]: each for each in found["routes"]} | {each["type"]: each for each in found["unrouted"]}
        names = ("rate", *NOTHING)
        return {pattern: {name: each[name] for name in names} for pattern, each in shown.items()}

    async def rate(self, pattern: str) -> float:
        return float((await self.routes())[pattern]["rate"])


@pytest.fixture(autouse=True)
def _handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "rated_handlers.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "rated_handlers", raising=False)
    importlib.invalidate_caches()
    before = services.install({})
    yield
    services.install(before)


def made(file: str) -> RunningGateway:
    return RunningGateway(build(parse(file, name="rated.yaml", folder=Path())))


@contextlib.asynccontextmanager
async def site(file: str = FILE) -> AsyncIterator[Site]:
    here = Site(made(file))
    await install(here.running)
    try:
        yield here
    finally:
        await here.running.drain()
        await here.running.shut_down()
        await here.running.close()


async def becomes(here: Site, pattern: str, rate: float) -> dict[str, Any]:
    """A run ends a turn after its client has the answer."""

    async def is_so() -> bool:
        return await here.rate(pattern) == pytest.approx(rate)

    with contextlib.suppress(TimeoutError):  # the comparison below tells what differs
        await until(is_so)
    found = (await here.routes())[pattern]
    assert found["rate"] == pytest.approx(rate), found
    return found


async def test_requests_that_are_quick_slow_or_fail() -> None:
    async with site() as here:
        here.clock.now = 10.0
        await here.get("page", "page", "page/slow", "page/broken", "nowhere")
        found = await becomes(here, "^page", 0.4)
        assert found["error_share"] == 0.25
        assert found["p50"] < 0.25 < found["p99"] < 0.5, "0.3 s is in the bucket from 0.25 to 0.5"
        assert (await here.routes())["^unused"] == {"rate": 0.0, **NOTHING}
        unrouted = await becomes(here, "http", 0.1)
        assert unrouted["error_share"] == 0.0


async def test_messages_of_devices_of_which_one_crashes_its_handler() -> None:
    async with site() as here:
        here.clock.now = 4.0
        await here.publish(b"1", b"2", b"slow", b"broken")
        await becomes(here, "sensors/#", 1.0)

        async def has_failed() -> bool:
            return bool((await here.routes())["sensors/#"]["error_share"])

        await until(has_failed)
        found = (await here.routes())["sensors/#"]
        assert (found["rate"], found["error_share"]) == (1.0, 0.25)
        assert 0 < found["p50"] <= found["p99"]
        assert found["p99"] > 0.25, "until the acknowledgement"


async def test_a_message_at_qos_0_has_a_rate_and_no_duration() -> None:
    async with site() as here:
        here.clock.now = 4.0
        await here.publish(b"1", b"2", qos=0)
        await becomes(here, "sensors/#", 0.5)
        assert (await here.routes())["sensors/#"] == {**NOTHING, "rate": 0.5, "error_share": 0.0}


async def test_of_a_route_with_an_inbox_the_handler_counts_and_not_the_storing() -> None:
    route = '{topic: "sensors/#", app: rated_handlers.Sensors, inbox: true, attempts: 1}'
    file = FILE.replace("{topic: sensors/#, app: rated_handlers.Sensors}", route)
    async with site(f"{file}store: sqlite:rated.db\n") as here:
        here.clock.now = 4.0
        await here.publish(b"1", b"2", b"3", b"broken")
        found = await becomes(here, "sensors/#", 1.0)
        assert found["error_share"] == 0.25
        assert 0 < found["p50"] <= found["p99"]


async def test_only_the_last_minute_counts_as_now_and_ten_minutes_are_kept() -> None:
    async with site() as here:
        await here.get("page", "page")
        await becomes(here, "^page", 0.0)  # no time has passed
        for number in range(1, 2 * KEPT):
            here.clock.now = 10.0 * number
            here.here.rates.take()
            if number == 1:
                history = (await here.routes())["^page"]["history"]
                assert [each["rate"] for each in history] == [0.2]
            if number == LATELY:
                assert await here.rate("^page") == pytest.approx(2 / 60)
            if number == LATELY + 1:
                found = (await here.routes())["^page"]
                assert found["rate"] == 0.0
                assert found["error_share"] is None
                rates = [each["rate"] for each in found["history"]]
                assert rates == [0.2] + [0.0] * LATELY
        assert (await here.routes())["^page"]["history"] == []


async def test_a_reload_goes_on_with_the_rates() -> None:
    async with site() as here:
        here.here.rates.take()
        await here.get("page", "page/broken")
        before, here.running = here.running, made(FILE.replace("^unused", "^other"))
        await install(here.running, before)
        await here.get("page", "page")
        here.clock.now = 4.0
        found = await becomes(here, "^page", 1.0)
        assert found["error_share"] == 0.25
        await here.running.predecessor_ended()
        assert await here.rate("^other") == 0.0
        assert await here.rate("^page") == pytest.approx(1.0)
        here.here.rates.take()
        here.clock.now = 8.0
        assert (await becomes(here, "^page", 0.5))["error_share"] == 0.25


async def test_an_application_without_routes_has_its_rates_by_scope_type() -> None:
    file = "servers: {web: {protocol: http, bind: '127.0.0.1:0'}}\napplication: rated_handlers.page\n"
    async with site(file) as here:
        here.clock.now = 1.0
        await here.get("page", "page/broken")
        assert (await becomes(here, "http", 2.0))["error_share"] == 0.5


async def test_a_route_that_is_counted_with_others_has_no_rates_of_its_own() -> None:
    each = "".join(f'{{path: "^page{number}", app: rated_handlers.page}},' for number in range(MOST_ROUTES + 1))
    file = f"servers: {{web: {{protocol: http, bind: '127.0.0.1:0'}}}}\nroutes: {{http: [{each}]}}\n"
    async with site(file) as here:
        found = await here.routes()
        assert found[f"^page{MOST_ROUTES - 1}"]["rate"] == 0.0
        assert found[f"^page{MOST_ROUTES}"]["rate"] is None


def test_what_a_gateway_counts_before_its_end_is_not_lost() -> None:
    clock, counts = Clock(), RunCounts(lambda kind: ("page",))
    running = [Counters(counts)]
    rates = RouteRates(lambda: running, clock)
    rates.take()
    counts.of("web").runs.of("http", "page").add(500, 0.01)
    running.clear()
    clock.now = 2.0
    for _ in range(2):
        rates.take()
        assert rates.lately()(("http", "page"))["rate"] == 0.5


def test_a_daemon_takes_samples_by_itself(tmp_path: Path) -> None:
    web, console = free_port(), free_port()
    (tmp_path / "handlers.py").write_text(PLAIN)
    (tmp_path / "gateway.yaml").write_text(
        f"servers: {{web: {{protocol: http, bind: '127.0.0.1:{web}'}}}}\napplication: handlers.app\n"
        f"console: {{bind: '127.0.0.1:{console}'}}\n"
    )
    daemon = Daemon(tmp_path)

    def history() -> Any:
        return httpx.get(f"http://127.0.0.1:{console}/api/routes").json()["unrouted"][0]["history"]

    try:
        daemon.says("ready")
        assert httpx.get(f"http://127.0.0.1:{web}/").text == "done"
        comes(history, "a sample", 30.0)
        assert history()[-1]["rate"] > 0
    finally:
        daemon.close()
