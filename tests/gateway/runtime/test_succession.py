"""Counters go on when a gateway takes over from another one in the process."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.config.loader import parse
from gateway.metrics import process, scrape
from gateway.metrics.family import Sample, counter, gauge
from gateway.metrics.reader import SUCCESS, Reader
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway
from protocols.errors import BindError

HANDLERS = """
async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""
FILE = """
servers: {{web: {{protocol: http, bind: "{web}"}}}}
routes: {{http: succession_handlers.page}}
console: {{bind: "127.0.0.1:0"}}
log: {{level: warning}}
"""
SERVED = counter("gateway_served_total", "Help.")
OPEN = gauge("gateway_open", "Help.")
served: dict[str, int] = {}


async def _read(gateway: Any) -> AsyncIterator[Sample]:
    yield SERVED.sample(served[gateway.file])
    yield OPEN.sample(1)


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    families = {each.name: each for each in (SERVED, OPEN, SUCCESS)}
    monkeypatch.setattr(process, "READERS", [Reader("served", (SERVED, OPEN), _read)])
    for module in (process, scrape):
        monkeypatch.setattr(module, "FAMILIES", families)
    served.clear()


def made(name: str, count: int, web: str = "127.0.0.1:0") -> RunningGateway:
    served[name] = count
    return RunningGateway(build(parse(FILE.format(web=web), name=name, folder=Path())))


async def scraped(running: RunningGateway) -> dict[str, float]:
    assert running.gateway.console is not None
    url = f"http://{running.gateway.console.address}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        lines = (await answer.text()).splitlines()
    found = [line.split() for line in lines if line.startswith(("gateway_served", "gateway_open"))]
    return {name: float(value) for name, value in found}


async def ended(running: RunningGateway) -> None:
    await running.drain()
    await running.shut_down()
    await running.close()


async def test_the_successor_goes_on_counting(replaced: Any) -> None:
    replaced("succession_handlers", HANDLERS)
    one, two, three = made("one", 5), made("two", 0), made("three", 1)
    await install(one)
    assert await scraped(one) == {"gateway_served_total": 5, "gateway_open": 1}
    for before, after in ((one, two), (two, three)):
        await install(after, before)
        assert (await scraped(after))["gateway_served_total"] >= 5
        await after.predecessor_ended()
        served["two"] = 2
    assert await scraped(three) == {"gateway_served_total": 5 + 2 + 1, "gateway_open": 1}
    await ended(three)


async def test_one_that_fails_to_take_over_counts_for_nothing(replaced: Any) -> None:
    replaced("succession_handlers", HANDLERS)
    one = made("one", 5)
    await install(one)
    assert one.gateway.console is not None
    two = made("two", 100, web=one.gateway.console.address)
    with pytest.raises(BindError):
        await install(two, one)
    await two.abort()
    assert await scraped(one) == {"gateway_served_total": 5, "gateway_open": 1}
    await ended(one)


async def test_gateways_that_do_not_follow_each_other_count_apart(replaced: Any) -> None:
    replaced("succession_handlers", HANDLERS)
    one, two = made("one", 5), made("two", 7)
    await install(one)
    await install(two)
    assert (await scraped(one))["gateway_served_total"] == 5
    assert (await scraped(two))["gateway_served_total"] == 7
    await ended(two)
    await ended(one)
