"""Arrivals as server-sent events: filters, reconnecting, slow readers, and as many streams as one likes to open."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, get_type_hints

import httpx
import pytest
from told_arrivals import arrival as made
from waiting import until

from gateway.arrivals import arrivals
from gateway.console.http import app, stream
from gateway.console.operations.arrivals import UNREAD_ARRIVALS, ArrivalFacts
from gateway.control import recent

Events = AsyncIterator[dict[str, Any]]


@asynccontextmanager
async def streaming(here: Any, query: str = "follow=true", **headers: str) -> AsyncIterator[Events]:
    """The events of a stream: their fields, with the data read."""
    async with here.client.stream("GET", f"/api/arrivals?{query}", headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"] == "text/event-stream"
        yield events(answer)


async def events(answer: httpx.Response) -> Events:
    fields: dict[str, Any] = {}
    async for line in answer.aiter_lines():
        if not line:
            yield fields
            fields = {}
        else:
            name, _, value = line.partition(":")
            fields[name or "comment"] = json.loads(value) if name == "data" else value.strip()


def tell(here: Any, *given: Any) -> None:
    for each in given:
        here.running.gateway.services[arrivals].tell(each)


def test_each_fact_is_described() -> None:
    assert get_type_hints(ArrivalFacts).keys() == made().facts().keys()


async def test_arrivals_come_as_they_are_told(site: Any) -> None:
    async with site() as here, streaming(here) as found:
        assert (await anext(found))["event"] == "listening"
        tell(here, made(1, scope={"secret": "hunter2"}))
        told = await anext(found)
        assert told["event"] == "arrival"
        assert told["data"] == {"arrival": made(1).facts()}
        assert "hunter2" not in str(told)
        await here.get("/api/status")  # a request to the console is no arrival
        async with here.new_client() as client:
            await client.get(f"http://{here.server('web')}/page")
        assert (await anext(found))["data"]["arrival"]["what"] == "GET /page"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("type=sms", ["1", "3"]),
        ("server=devices", ["2"]),
        ("route=HANDLERS", ["1", "2", "3"]),
        ("verdict=failed", ["3"]),
        ("address=10.0.0.0/8", ["1"]),
        ("address=::1", ["3"]),
        ("address=unix", ["2"]),
        ("verdict=refused", ["2"]),
        ("text=keyerror", ["3"]),
        ("text=999&type=sms", ["1", "3"]),
        ("text=nothing", []),
    ],
)
async def test_filters(site: Any, query: str, ids: list[str]) -> None:
    given = [
        made(1, address="10.1.2.3"),
        made(2, type="mqtt", server="devices", verdict="rejected, 0x87", what="a/b", address="unix"),
        made(3, address="::1", error="KeyError 'order'", verdict="deferred"),
        made("last", type="sms", server="devices", what="999 nothing", route="handlers", error="KeyError"),
    ]
    async with site() as here, streaming(here, f"follow=true&{query}") as found:
        await anext(found)
        tell(here, *given[:3])
        got = [(await anext(found))["data"]["arrival"]["id"] for _ in ids]
        assert got == ids


async def test_a_client_that_comes_again_hears_what_it_has_missed(site: Any) -> None:
    query = "follow=true&content=true"
    async with site() as here:
        async with streaming(here, query) as found:
            await anext(found)
            tell(here, made(1), made(2))
            first, second = await anext(found), await anext(found)
            assert int(second["id"]) == int(first["id"]) + 1 == second["data"]["number"]
        await until(lambda: here.here.recent._forget is not None)
        tell(here, made(3), made(4))
        async with streaming(here, query, **{"last-event-id": second["id"]}) as found:
            assert [(await anext(found))["data"]["arrival"]["id"] for _ in range(2)] == ["3", "4"]
            assert (await anext(found))["event"] == "listening"
            tell(here, *map(made, range(recent.MOST + 9)))
        await until(lambda: here.here.recent._forget is not None)
        async with streaming(here, query, **{"last-event-id": second["id"]}) as found:
            assert (await anext(found))["data"] == {"missed": 11}
        async with streaming(here, query, **{"last-event-id": "9" * 18}) as found:
            assert (await anext(found))["data"]["arrival"]["id"] == "9", "the gateway has started again: all there is"
        await until(lambda: here.here.recent._forget is not None)
        here.here.recent._end()


async def test_nothing_is_remembered_when_nobody_looks(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "LINGER", 0.01)
    async with site() as here:
        async with streaming(here, "follow=true&content=true") as found:
            await anext(found)
            tell(here, made(1))
            number = (await anext(found))["data"]["number"]
            assert (await here.get(f"/api/arrivals/{number}")).status_code == 200
        await until(lambda: not here.running.gateway.services[arrivals].audience.listeners)
        assert (await here.get(f"/api/arrivals/{number}")).status_code == 404


async def test_an_arrival_is_shown_without_secrets(site: Any) -> None:
    async with site() as here, streaming(here, "follow=true&content=true&type=http") as found:
        await anext(found)
        headers = {"authorization": "Basic aHVudGVyMjpodW50ZXIy", "cookie": "session=hunter2", "user-agent": "<script>"}
        async with here.new_client() as client:
            body = {"password": "hunter2", "order": 5}
            await client.post(f"http://{here.server('web')}/login?token=hunter2", json=body, headers=headers)
        number = (await anext(found))["data"]["number"]
        answer = await here.get(f"/api/arrivals/{number}")
        assert "hunter2" not in answer.text
        assert "aHVudGVyMjpodW50ZXIy" not in answer.text
        assert {"authorization", "cookie", "password", "token"} <= set(answer.json()["left_out"])
        assert answer.json()["arrival"]["what"] == "POST /login"
        assert '"order":5' in json.dumps(answer.json()["events"]).replace('\\"', '"').replace(" ", "")


async def test_a_traceback_is_shown_without_secrets(site: Any) -> None:
    trace = "Traceback:\n  log_in(password='hunter2')\nValueError: no such token=hunter2 in {'cookie': 'x'}\n"
    async with site() as here, streaming(here, "follow=true&content=true") as found:
        await anext(found)
        tell(here, made(1, traceback=trace, error="ValueError no such token=hunter2"))
        number = (await anext(found))["data"]["number"]
        for path in ("/api/arrivals", "/live"):
            shown = (await here.get(f"{path}/{number}")).text
            assert "hunter2" not in shown
            assert "log_in(password=" in shown


@pytest.mark.parametrize(
    "content", [{"events": [{"type": "sms.receive", "text": "x" * 10_000}]}, {"traceback": "x" * 10_000}]
)
async def test_contents_are_bounded(site: Any, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]) -> None:
    monkeypatch.setattr(recent, "MOST_CONTENT", 50_000)
    async with site() as here, streaming(here, "follow=true&content=true") as found:
        await anext(found)
        tell(here, *(made(n, **content) for n in range(100)))
        assert len(here.here.recent._contents) == 3


async def test_a_reader_that_is_slow_is_told_how_many_it_missed(site: Any) -> None:
    async with site() as here, streaming(here) as found:
        await anext(found)
        tell(here, *map(made, range(3 * UNREAD_ARRIVALS)))  # in one turn of the loop: nobody can have read
        for _ in range(UNREAD_ARRIVALS):
            assert (await anext(found))["event"] == "arrival"
        assert (await anext(found))["data"] == {"missed": 2 * UNREAD_ARRIVALS}


async def test_of_those_that_a_slow_reader_missed_only_what_fits_its_filter_counts(site: Any) -> None:
    async with site() as here, streaming(here, "follow=true&text=wanted") as found:
        await anext(found)
        tell(here, *(made(n, who="wanted" if n % 3 else "other") for n in range(3 * UNREAD_ARRIVALS)))
        for _ in range(UNREAD_ARRIVALS):
            assert (await anext(found))["data"]["arrival"]["who"] == "wanted"
        assert (await anext(found))["data"] == {"missed": UNREAD_ARRIVALS}


async def test_how_many_of_those_that_are_forgotten_fit_a_filter_is_not_known(site: Any) -> None:
    async with site() as here:
        async with streaming(here, "follow=true&content=true") as found:
            await anext(found)
            tell(here, made(0))
            number = (await anext(found))["data"]["number"]
            tell(here, *(made(n, who="other") for n in range(recent.MOST + 10)))
        for query, more in (("", {}), ("&text=wanted", {"at_most": True})):
            async with streaming(here, f"follow=true&content=true&after={number}{query}") as found:
                assert (await anext(found))["data"] == {"missed": 10, **more}


async def test_a_quiet_stream_is_kept_alive(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 0.01)
    async with site() as here, streaming(here) as found:
        assert (await anext(found))["event"] == "listening"
        assert [await anext(found) for _ in range(3)] == [{"comment": ""}] * 3
        tell(here, made(1))
        while (told := await anext(found)) == {"comment": ""}:
            pass
        assert told["event"] == "arrival"


async def test_what_cannot_be_told_has_a_status(site: Any) -> None:
    async with site() as here:
        answer = await here.get("/api/arrivals?follow=true&type=mail")
        assert answer.status_code == 400
        assert "there is no scope type 'mail'" in answer.json()["error"]


async def test_streams_leave_connections_for_others_and_leave_nothing_behind(site: Any) -> None:
    """A thousand are tried: some are served, and health is answered meanwhile."""
    async with site() as here:
        host, _, port = here.console.address.rpartition(":")
        request = b"GET /api/arrivals?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n"
        async with AsyncExitStack() as opened:
            statuses = []

            async def one() -> None:
                try:
                    reader, writer = await asyncio.open_connection(host, int(port))
                    opened.callback(writer.close)
                    writer.write(request)
                    statuses.append((await reader.readline()).split()[1])
                except (OSError, IndexError):
                    statuses.append(b"closed")

            for _ in range(20):
                await asyncio.gather(*(one() for _ in range(50)))
            assert statuses.count(b"200") == app.STREAMS
            assert set(statuses) <= {b"200", b"503", b"closed"}
        await until(lambda: here.console.active() == {})
        assert (await here.get("/healthz")).status_code == 200
        async with streaming(here) as found:
            assert (await anext(found))["event"] == "listening"
