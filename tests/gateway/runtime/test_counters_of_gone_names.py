"""Reloads that rename servers and routes neither fill the page nor lose what was counted last."""

import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.config.loader import parse
from gateway.metrics import gone, process
from gateway.metrics.process import snapshot
from gateway.metrics.reader import Reader
from gateway.metrics.readers import runs
from gateway.metrics.snapshot import Snapshot
from gateway.metrics.table import FAMILIES, READERS
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway

HANDLERS = """
async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})
"""
FILE = """
servers: {{ {server}: {{protocol: http, bind: "127.0.0.1:0"}} }}
routes: {{http: [{{path: "^{path}", app: gone_handlers.page}}]}}
log: {{level: error}}
"""


@pytest.fixture(autouse=True)
def handlers(replaced: Any) -> None:
    replaced("gone_handlers", HANDLERS)


def made(path: str, server: str = "web") -> RunningGateway:
    return RunningGateway(build(parse(FILE.format(path=path, server=server), name="gateway.yaml", folder=Path())))


async def reloaded(before: RunningGateway | None, path: str, server: str = "web") -> RunningGateway:
    """The successor, after one request, when its predecessor has ended."""
    after = made(path, server)
    await install(after, before)
    await after.predecessor_ended()
    url = f"http://{after.gateway.servers.named(server).address}/{path}"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert answer.status == 200
    return after


async def ended(running: RunningGateway) -> None:
    await running.drain()
    await running.shut_down()
    await running.close()


def counted(taken: Snapshot, label: str) -> dict[str, int]:
    """Requests by the values of ``label``."""
    place, numbers = FAMILIES["gateway_runs_total"].labels.index(label), dict[str, int]()
    for labels, value in taken["gateway_runs_total"]:
        if labels[1] == "http":
            numbers[labels[place]] = numbers.get(labels[place], 0) + value
    return numbers


def route(path: str) -> str:
    return f"^{path} -> gone_handlers.page"


async def test_a_route_that_is_renamed_again_and_again_is_shown_for_its_last_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gone, "MOST", 20)
    running = None
    for number in range(60):
        running = await reloaded(running, f"name{number}")
    assert running is not None
    shown = counted(await snapshot(running.succession), "route")
    assert len(running.succession.kept["gateway_runs_total"]) < 60 * 5
    assert len([name for name in shown if name.startswith("^name")]) <= 20 + 1
    assert {shown[route(f"name{number}")] for number in range(40, 60)} == {1}
    await ended(running)


async def test_what_is_gone_has_its_last_value_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    one = await reloaded(None, "page", "old")
    two = await reloaded(one, "page", "web")
    assert counted(await snapshot(two.succession), "server") == {"old": 1, "web": 1}
    monkeypatch.setattr(gone, "monotonic", lambda: time.monotonic() + gone.SHOWN + 1)
    await snapshot(two.succession)  # it shows them for the last time
    taken = await snapshot(two.succession)
    assert counted(taken, "server") == {"web": 1}
    assert not [name for name, series in taken.items() if any("old" in labels for labels, _ in series)]
    await ended(two)


async def test_a_name_that_comes_back_in_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    one = await reloaded(None, "page")
    two = await reloaded(one, "other")
    await snapshot(two.succession)
    three = await reloaded(two, "page")
    monkeypatch.setattr(gone, "monotonic", lambda: time.monotonic() + gone.SHOWN + 1)
    await snapshot(three.succession)
    assert counted(await snapshot(three.succession), "route") == {route("page"): 2, "none": 0}
    await ended(three)


async def test_a_family_that_cannot_be_read_is_missing_and_is_not_a_part_of_its_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = await reloaded(None, "page")
    two = await reloaded(one, "page")

    async def fails(gateway: Any) -> Any:
        raise RuntimeError("it never works")
        yield

    broken = Reader("runs", runs.READER.families, fails)
    monkeypatch.setattr(process, "READERS", [broken if each is runs.READER else each for each in READERS])
    monkeypatch.setattr(gone, "SHOWN", -1.0)
    assert "gateway_runs_total" not in await snapshot(two.succession)
    monkeypatch.undo()
    assert counted(await snapshot(two.succession), "route")[route("page")] == 2
    await ended(two)


async def test_a_gateway_that_ends_during_a_scrape_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one = await reloaded(None, "page")
    two = made("page")

    async def replaces(gateway: Any) -> Any:
        """After the other readers have read, the gateway is replaced and ends."""
        monkeypatch.undo()
        await install(two, one)
        await two.predecessor_ended()
        return
        yield

    monkeypatch.setattr(process, "READERS", [*READERS, Reader("replaces", (), replaces)])
    assert counted(await snapshot(one.succession), "route")[route("page")] == 1
    assert counted(await snapshot(two.succession), "route")[route("page")] == 1
    await ended(two)
