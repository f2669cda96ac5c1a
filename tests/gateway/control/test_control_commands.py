"""What a daemon tells by its control socket, and what becomes of a client that is slow."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from own_services import delivering
from told_arrivals import FACTS, arrival, serving
from waiting import until

from gateway.console.operations.arrivals import UNREAD_ARRIVALS, UNREAD_CONTENT
from gateway.control import place, server
from gateway.control.client import ControlError, Conversation, ring
from gateway.control.recent import MOST, Recent
from gateway.store import engine_of
from protocols.app_run import observed


async def asked(beside: Path, **request: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask, and read until the daemon listens."""
    limit = 100 * 1024 * 1024
    reader, writer = await asyncio.open_unix_connection(str(place.sockets(beside)[0]), limit=limit)
    writer.write(json.dumps(request).encode() + b"\n")
    while "listening" not in json.loads(await reader.readline()):
        pass
    return reader, writer


async def answers(reader: asyncio.StreamReader, last: str) -> list[dict[str, Any]]:
    """Read until an answer has ``last`` in it."""
    found: list[dict[str, Any]] = []
    while last not in json.dumps(found[-1:]):
        found.append(json.loads(await reader.readline()))
    return found


async def test_the_outbox_looks_at_once(tmp_path: Path) -> None:
    rung: list[bool] = []
    beside = tmp_path / "gateway.db"
    with delivering(engine_of(f"sqlite:{beside}").store()) as deliveries:
        deliveries.outgoing.listen(lambda: rung.append(True))
        async with serving(beside):
            assert ring([beside]) == 1
            await until(lambda: rung == [True])


async def test_a_gateway_without_a_store_says_so(tmp_path: Path) -> None:
    def ask() -> None:
        with Conversation([tmp_path / "gateway.yaml"], {"do": "ring"}) as conversation:
            list(conversation.answers())

    async with serving(tmp_path / "gateway.yaml"):
        with pytest.raises(ControlError, match="this gateway has no store"):
            await asyncio.to_thread(ask)


async def test_arrivals_are_told_as_they_come_and_nobody_is_watched_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HALF_CLOSED", 0.05)
    async with serving(tmp_path / "g") as here:
        reader, writer = await asked(tmp_path / "g", do="tail", follow=True)
        here.tell(arrival(scope={"secret": "hunter2"}))
        (told,) = await answers(reader, "accepted")
        assert told == {
            "arrival": {**FACTS, "id": "0", "error": "", "size": None, "user_agent": "", "address": "", "attempt": 0}
        }
        writer.close()
        await until(lambda: not here.audience.listeners)


@pytest.mark.parametrize(
    ("request_", "ids"),
    [
        ({"last": 2}, ["8", "9"]),
        ({"last": 100, "type": "sms"}, ["0", "2", "4", "6", "8"]),
        ({"last": 1, "route": "ORDERS"}, ["7"]),
        ({"last": 0}, []),
        ({}, []),
    ],
)
async def test_the_last_ones_are_remembered(tmp_path: Path, request_: dict[str, Any], ids: list[str]) -> None:
    recent = Recent()
    async with serving(tmp_path / "g", recent) as here:
        for number in range(10):
            kind = "mqtt" if number % 2 else "sms"
            here.tell(arrival(number, type=kind, target="shop.Orders" if number == 7 else "handlers.Texts"))

        def ask() -> list[dict[str, Any]]:
            with Conversation([tmp_path / "g"], {"do": "tail", **request_}) as conversation:
                return list(conversation.answers(20))

        *told, last = await asyncio.to_thread(ask)
        assert [each["arrival"]["id"] for each in told] == ids
        assert last == {"listening": True, "remembers": True}
        for number in range(2 * MOST):
            here.tell(arrival(number))
        assert len(recent) == MOST
        here.close()
        assert observed.by is None


@pytest.mark.parametrize(
    ("request_", "ids"),
    [
        ({"client": "dev-1"}, ["1"]),
        ({"client": "dev-*"}, ["1", "2"]),
        ({"topic": "sensors/+/status"}, ["2"]),
        ({"topic": "#"}, ["1", "2"]),
        ({"topic": "sensors/#", "client": "dev-1"}, ["1"]),
        ({"topic": "+"}, []),
    ],
)
async def test_one_client_or_topic(tmp_path: Path, request_: dict[str, Any], ids: list[str]) -> None:
    async with serving(tmp_path / "g") as here:
        reader, writer = await asked(tmp_path / "g", do="tail", follow=True, **request_)
        here.tell(arrival(1, type="mqtt", event="mqtt.receive", who="dev-1", what="sensors/1"))
        here.tell(arrival(2, type="mqtt", event="mqtt.receive", who="dev-2", what="sensors/2/status"))
        here.tell(arrival(3, type="email", event="email.receive", who="dev@example.org", what="sensors"))
        here.close()
        writer.write_eof()
        told = [json.loads(line) async for line in reader]
        assert [each["arrival"]["id"] for each in told] == ids
        writer.close()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"type": "mail"}, "there is no scope type 'mail'; there are email, http, "),
        ({"type": ["mail"]}, "type: write a text"),
        ({"least": 2}, "there is no parameter 'least'; there are last, follow, "),
        ({"last": "2"}, "last: write a whole number from 0 to 1000"),
    ],
)
async def test_what_cannot_be_told(tmp_path: Path, request_: dict[str, Any], words: str) -> None:
    def ask() -> None:
        with Conversation([tmp_path / "g"], {"do": "tail", **request_}) as conversation:
            list(conversation.answers(20))

    async with serving(tmp_path / "g"):
        with pytest.raises(ControlError, match=words):
            await asyncio.to_thread(ask)


async def test_a_reader_that_is_slow_is_told_how_many_it_missed(tmp_path: Path) -> None:
    async with serving(tmp_path / "g") as here:
        reader, writer = await asked(tmp_path / "g", do="tail", follow=True)
        for number in range(3 * UNREAD_ARRIVALS):
            here.tell(arrival(number))  # in one turn of the loop: nobody can have read
        found = await answers(reader, "missed")
        assert found[-1] == {"missed": 2 * UNREAD_ARRIVALS}
        assert len(found) == UNREAD_ARRIVALS + 1
        here.tell(arrival(9_999))
        assert [each["arrival"]["id"] for each in await answers(reader, "9999")] == ["9999"]
        writer.close()


async def test_a_recording_is_whole_and_bounded(tmp_path: Path) -> None:
    """What is too large, or comes faster than it is read, is missed and counted."""
    scope = {"type": "sms", "listener": "texts", "state": {"database": object()}, "fields": {"token": "x"}}

    def text(size: int) -> list[dict[str, Any]]:
        return [{"type": "sms.receive", "text": "x" * size, "media": []}]

    async with serving(tmp_path / "g") as here:
        reader, writer = await asked(tmp_path / "g", do="record")
        assert here.keeps_content
        here.tell(arrival(1, scope=scope, events=text(5)))
        (told,) = await answers(reader, "entry")
        assert told["entry"]["scope"] == {"type": "sms", "listener": "texts", "fields": {"token": "x"}}
        assert told["entry"]["events"] == text(5)
        here.tell(arrival(2, scope=scope, events=None))
        assert await answers(reader, "missed") == [{"missed": 1}]
        for number in range(20):
            here.tell(arrival(number, scope=scope, events=text(UNREAD_CONTENT // 8)))
        found = await answers(reader, "missed")
        assert found[-1] == {"missed": 13}
        assert len(found) == 8
        writer.close()


async def test_what_another_server_carries_is_recorded_once(tmp_path: Path) -> None:
    async with serving(tmp_path / "g") as here:
        reader, writer = await asked(tmp_path / "g", do="record")
        here.tell(arrival(1, type="http", event="http.request", target="servers.texts", scope={}, events=[]))
        here.tell(arrival(2, scope={"type": "sms"}, events=[]))
        (told,) = await answers(reader, "entry")
        assert told["entry"]["arrival"]["id"] == "2"
        writer.close()
