"""The control socket over real sockets: who may use it, what it answers, and what a bad client can do to it."""

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from gateway.control import place, server
from gateway.control.asking import Refused, answers
from gateway.control.backlog import Backlog
from gateway.control.client import ControlError, Conversation, NoDaemon, ring
from gateway.control.server import BadRequest, ControlServer

Answers = AsyncGenerator[Mapping[str, Any], None]
ended: list[str] = []


async def count(request: Mapping[str, Any]) -> Answers:
    for number in range(request["to"]):
        yield {"number": number}


async def hang(request: Mapping[str, Any]) -> Answers:
    try:
        yield {"here": True}
        await asyncio.get_running_loop().create_future()
    finally:
        ended.append("hang")


async def flood(request: Mapping[str, Any]) -> Answers:
    try:
        while True:
            yield {"text": "x" * 10_000}
    finally:
        ended.append("flood")


async def fail(request: Mapping[str, Any]) -> Answers:
    yield {"before": True}
    raise KeyError("order")


async def refuse(request: Mapping[str, Any]) -> Answers:
    if request:
        raise BadRequest("write less")
    yield {}


COMMANDS = {"count": count, "hang": hang, "flood": flood, "fail": fail, "refuse": refuse}


@asynccontextmanager
async def serving(beside: Path) -> AsyncIterator[ControlServer]:
    ended.clear()
    serves = ControlServer(beside, COMMANDS)
    await serves.start()
    try:
        yield serves
    finally:
        await serves.stop()


async def ask(beside: Path, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    def talk() -> list[dict[str, Any]]:
        with Conversation([beside], request) as conversation:
            return list(conversation.answers(20))

    return await asyncio.to_thread(talk)


async def opened(beside: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(place.sockets(beside)[0]))


async def test_answers_come_in_order_and_the_connection_ends(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db"):
        assert await ask(tmp_path / "gateway.db", {"do": "count", "to": 3}) == [{"number": n} for n in range(3)]


async def test_answers_that_came_together_are_given_one_by_one(tmp_path: Path) -> None:
    def talk() -> list[int]:
        with Conversation([tmp_path / "gateway.db"], {"do": "count", "to": 100}) as conversation:
            return [next(conversation.answers(20))["number"] for _ in range(100)]

    async with serving(tmp_path / "gateway.db"):
        assert await asyncio.to_thread(talk) == list(range(100))


async def test_only_this_user_may_connect(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with serving(tmp_path / "gateway.db"):
            (path,) = place.sockets(tmp_path / "gateway.db")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not place.sockets(tmp_path / "gateway.db"), "it is removed at the end"


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b'{"do": "dance"}\n', "there is no 'dance'; there are count, fail"),
        (b'{"do": ["dance"]}\n', "there is no ['dance']"),
        (b"{}\n", "there is no None"),
        (b"[1]\n", "write one line with one JSON object"),
        (b"GET / HTTP/1.1\r\n", "write one line with one JSON object"),
        (b"\xff\xfe\n", "write one line with one JSON object"),
        (b"[" * 60_000 + b"\n", "write one line with one JSON object"),
        (b"x" * 200_000, "write one line with one JSON object"),
        (b'{"do": "refuse"}\n', "write less"),
        (b'{"do": "fail"}\n', "fail failed: KeyError: 'order'"),
        (b'{"do": "count"}\n', "count failed: KeyError: 'to'"),
    ],
)
async def test_each_bad_request_has_an_answer(tmp_path: Path, sent: bytes, words: str) -> None:
    async with serving(tmp_path / "gateway.db"):
        reader, writer = await opened(tmp_path / "gateway.db")
        writer.write(sent)
        *_, last = (await reader.read()).splitlines()
        assert words in json.loads(last)["error"]
        writer.close()


async def test_a_client_that_says_nothing_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.05)
    async with serving(tmp_path / "gateway.db"):
        reader, writer = await opened(tmp_path / "gateway.db")
        assert b"no request came within 0.05 s" in await reader.read()
        writer.close()


async def test_a_client_that_closes_its_half_gets_its_answers(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db"):
        reader, writer = await opened(tmp_path / "gateway.db")
        writer.write(b'{"do": "count", "to": 2}\n')
        writer.write_eof()
        assert len((await reader.read()).splitlines()) == 2
        writer.close()


async def test_a_command_ends_when_its_client_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HALF_CLOSED", 0.05)
    async with serving(tmp_path / "gateway.db"):
        reader, writer = await opened(tmp_path / "gateway.db")
        writer.write(b'{"do": "hang"}\n')
        await reader.readline()
        writer.close()
        await until(lambda: ended == ["hang"])


async def test_a_client_that_does_not_read_fills_nothing_and_holds_up_nobody(tmp_path: Path) -> None:
    """The command waits for it, other clients are answered, and the daemon's end does not wait."""
    async with serving(tmp_path / "gateway.db"):
        _, writer = await opened(tmp_path / "gateway.db")
        writer.write(b'{"do": "flood"}\n')
        assert await ask(tmp_path / "gateway.db", {"do": "count", "to": 1}) == [{"number": 0}]
    assert ended == ["flood"]
    writer.close()


async def test_one_client_too_many_is_told_so(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db"):
        clients = [await opened(tmp_path / "gateway.db") for _ in range(server.CONNECTIONS)]
        for reader, writer in clients:
            writer.write(b'{"do": "hang"}\n')
            await reader.readline()
        with pytest.raises(ControlError, match="16 clients have the control socket already"):
            await ask(tmp_path / "gateway.db", {"do": "count", "to": 1})
        for _, each in clients:
            each.close()


async def test_workers_and_their_parent_have_places_of_their_own(tmp_path: Path) -> None:
    """Streams of a console take none from commands, nor from scrapes, which the parent asks for."""
    beside = tmp_path / "gateway.db"
    async with serving(beside), contextlib.AsyncExitStack() as stack:
        (path,) = place.sockets(beside)
        for by, limit in (("worker", server.OF_WORKERS), ("parent", server.OF_PARENT)):
            for _ in range(limit):
                stream = await stack.enter_async_context(contextlib.aclosing(answers(path, {"do": "hang"}, by)))
                assert await anext(stream) == {"here": True}
            with pytest.raises(Refused, match=f"{limit} .* are open already") as refused:
                await anext(answers(path, {"do": "count", "to": 1}, by))
            assert refused.value.status == 503
        assert await ask(beside, {"do": "count", "to": 1}) == [{"number": 0}]


async def test_the_sockets_of_dead_daemons_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    beside = tmp_path / "gateway.db"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "gateway.db.99999999.sock"))
    other = tmp_path / "gateway.db.old.1.sock"
    other.write_text("no socket, and of another store")
    async with serving(beside), serving(beside):
        assert len(place.sockets(beside)) == 2, "two daemons of one store have one each"
        assert not (tmp_path / "gateway.db.99999999.sock").exists()
        answers = await ask(beside, {"do": "count", "to": 1})
        assert answers == [{"number": 0}] * 2, "both are asked"
    assert other.exists()


async def test_a_client_that_leaves_without_a_word_is_not_worth_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another daemon of the store, which starts, looks whether this one lives."""
    beside = tmp_path / "gateway.db"
    async with serving(beside) as serves:
        for _ in range(5):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(place.sockets(beside)[0]))
        assert await ask(beside, {"do": "count", "to": 1}) == [{"number": 0}]
        await until(lambda: not serves._tasks)
    assert caplog.records == []


async def test_a_daemon_that_was_killed_is_no_daemon(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "gateway.db.99999999.sock"))
    with pytest.raises(NoDaemon, match="no gateway runs with this file; gateway run starts it"):
        Conversation([tmp_path / "gateway.db", tmp_path / "gateway.yaml"], {"do": "count"})


async def test_an_error_is_raised_for_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db"):
        with pytest.raises(ControlError, match="write less"):
            await ask(tmp_path / "gateway.db", {"do": "refuse"})


async def test_a_path_that_is_too_long_is_told_in_one_sentence(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with pytest.raises(OSError, match=r"its path has \d+ bytes, and that of a Unix socket has 107 at most: ") as raised:
        await ControlServer(deep / "gateway.db", COMMANDS).start()
    assert "\n" not in str(raised.value)


async def test_a_long_path_is_given_from_the_current_folder_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.chdir(deep)
    async with serving(deep / "gateway.db"):
        assert await ask(deep / "gateway.db", {"do": "count", "to": 1}) == [{"number": 0}]


async def test_ringing_where_nobody_is_is_no_error(tmp_path: Path) -> None:
    assert ring([tmp_path / "gateway.db"]) == 0
    async with serving(tmp_path / "gateway.db"):
        assert ring([tmp_path / "none.db", tmp_path / "gateway.db"]) == 1


async def test_a_backlog_counts_what_it_has_no_room_for() -> None:
    backlog = Backlog[str](3)
    for each in "abcd":
        backlog.put(each)
    assert await backlog.take() == (1, ["a", "b", "c"])
    backlog.put("large", 3)
    backlog.put("e")
    backlog.miss()
    assert await backlog.take() == (2, ["large"])
    backlog.put("f")
    assert await backlog.take() == (0, ["f"])


def test_where_the_sockets_of_a_file_are() -> None:
    assert place.places(Path("/srv"), "conf/gateway.yaml", "sqlite:var/gateway.db") == [
        Path("/srv/var/gateway.db"),
        Path("/srv/gateway.yaml"),
    ]
    assert place.places(Path("/srv"), "gateway.yaml", "sqlite:/var/lib/gateway.db")[0] == Path("/var/lib/gateway.db")
