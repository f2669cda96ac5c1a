"""Request smuggling through nginx and HAProxy: our application sees no request that the front did not send as one, and
nobody gets the answer to a request of somebody else. README.md has what the attacks are."""

import asyncio
import contextlib
import re
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from servers.programs import program
from smuggling_cases import ATTACKS, Attack
from smuggling_fronts import FRONTS, Running
from waiting import until

from protocols import HTTPServer, HTTPSettings

STALL = 0.4
"""Our stall_timeout, in seconds: shorter than the pauses of the attacks."""
QUIET = 0.1
"""Seconds without an answer after which an attack has all of its answers. Later ones harm nobody."""
AT_ONCE = 16
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
REFUSALS = ("400", "413", "414", "426", "431", "501", "505")
NAMES = {each.number: each.name for each in ATTACKS.values()}
ROW = re.compile(r"^\| (`[^|]+`) \| ([a-z0-9, -]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
LEGITIMATE = (
    *("te_no_space_alone", "te_tab_alone", "te_*_case_alone", "length_underscore_name*", "length_none*"),
    *("chunk_size_zeros_*", "chunk_extension_and_*", "chunk_end_zeros_*", "chunk_end_extension_*", "chunk_empty_*"),
    *("trailer_plain", "trailer_host", "trailer_front", "expect_*_without_a_body"),
    *("upgrade_h2c*", "upgrade_two*", "upgrade_unknown*"),
)
"""Attacks that are two requests by the rules."""
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Seen:
    """A request as our application got it."""

    method: str
    path: str
    query: str
    ids: tuple[str, ...]
    """Its X-Front fields."""
    headers: tuple[tuple[bytes, bytes], ...]


@dataclass
class Result:
    """What became of all attacks through one front."""

    statuses: dict[str, list[int]] = field(default_factory=dict)
    """The answers to each attack."""
    victims: list[tuple[str, bytes]] = field(default_factory=list)
    """The path that each client beside the attacks asked for, and what came back."""
    seen: list[Seen] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    """The ids in the front's log."""
    refused: set[str] = field(default_factory=set)
    """Attacks of which the front has passed a request on that our server refused."""


class Site:
    """The application behind a front."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError  # ASGI's way to say that an application does not take a scope
        headers = tuple(scope["headers"])
        ids = tuple(value.decode("latin-1") for name, value in headers if name == b"x-front")
        query = scope["query_string"].decode("latin-1")
        self.seen.append(Seen(scope.get("method", "GET"), scope["path"], query, ids, headers))
        await (_request if scope["type"] == "http" else _websocket)(scope, receive, send)


async def _request(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    if path == "/early_hint" and "http.response.early_hint" in scope["extensions"]:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    if path == "/late":
        await asyncio.sleep(0.1)
    if path == "/crash":
        raise RuntimeError("as it is to be")
    if path not in ("/unread", "/late", "/early_hint"):
        while (event := await receive())["type"] == "http.request" and event["more_body"]:
            pass
        if event["type"] == "http.disconnect":
            return
    status = int(path[1:]) if path[1:].isdigit() else 200
    body = path.encode()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def _websocket(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/ws/denied":
        await send({"type": "websocket.close"})
    elif scope["path"] == "/ws/crash":
        raise RuntimeError("as it is to be")
    else:
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Read until nothing comes for a moment."""
    found = b""
    with contextlib.suppress(OSError, TimeoutError):
        while True:
            async with asyncio.timeout(QUIET):
                piece = await reader.read(65536)
            if not piece:
                break
            found += piece
    return found


async def _attack(port: int, attack: Attack) -> tuple[list[int], asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(OSError):
        for each in attack.sends:
            if isinstance(each, bytes):
                writer.write(each)
                await writer.drain()
            else:
                await asyncio.sleep(each)
    found = await _read(reader)
    return [int(status) for status in STATUS.findall(found)], writer


async def _ask(plain: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", plain)
    try:
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
        async with asyncio.timeout(10):
            answer = await reader.read()
    except OSError as error:
        return repr(error).encode()
    finally:
        writer.close()
    return answer


async def _batch(running: Running, attacks: list[Attack], result: Result) -> None:
    """Make some attacks at once, and then some plain requests, whose connections behind the front are the same."""
    done = await asyncio.gather(*[_attack(running.port, each) for each in attacks])
    result.statuses |= {each.name: statuses for each, (statuses, _) in zip(attacks, done, strict=True)}
    paths = [f"/victim/{each.number}" for each in attacks]
    result.victims += zip(paths, await asyncio.gather(*[_ask(running.plain, path) for path in paths]), strict=True)
    for _, writer in done:
        writer.close()


async def _all(folder: Path, name: str) -> Result:
    site, result = Site(), Result()
    attacks = [each for each in ATTACKS.values() if each.is_h2 == ("h2" in name)]
    attacks.sort(key=lambda each: sum(pause for pause in each.sends if isinstance(pause, float)))
    async with HTTPServer(site, HTTPSettings(bind="127.0.0.1:0", stall_timeout=STALL)) as server:
        front = FRONTS[name](folder, int(server.address.rpartition(":")[2]))
        running = await asyncio.to_thread(front.__enter__)
        try:
            for start in range(0, len(attacks), AT_ONCE):
                await _batch(running, attacks[start : start + AT_ONCE], result)
            with contextlib.suppress(TimeoutError):  # it writes a line when a request has ended
                await until(lambda: {id_ for each in site.seen for id_ in each.ids} <= _ids(running.log).keys())
            result.seen, result.sent, result.refused = site.seen, _ids(running.log), _refused(running.log)
        finally:
            await asyncio.to_thread(front.__exit__, None, None, None)
    return result


def _ids(log: Path) -> Counter[str]:
    return Counter(line.split()[0] for line in log.read_text().splitlines() if line.strip())


def _refused(log: Path) -> set[str]:
    lines = [line.split(" ", 3) for line in log.read_text().splitlines() if line.count(" ") > 2]
    return {
        name
        for _, status, server, target in lines
        if status in REFUSALS and server == "gateway"
        for name in [NAMES.get(target.partition("?")[2][:4])]
        if name is not None
    }


async def _through_all(folder: Path) -> dict[str, Result]:
    folders = {name: folder / name for name in FRONTS}
    for each in folders.values():
        each.mkdir()
    return dict(zip(FRONTS, await asyncio.gather(*[_all(folders[name], name) for name in FRONTS]), strict=True))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    program("nginx"), program("haproxy")
    return asyncio.run(_through_all(tmp_path_factory.mktemp("smuggling")))


@pytest.mark.parametrize("front", FRONTS)
def test_every_request_that_is_seen_was_sent_by_the_front_once(results: dict[str, Result], front: str) -> None:
    result = results[front]
    wrong = [
        (NAMES.get(each.query), each) for each in result.seen if len(each.ids) != 1 or result.sent[each.ids[0]] != 1
    ]
    assert wrong == []
    twice = [id_ for id_, count in Counter(each.ids for each in result.seen).items() if count > 1]
    assert twice == []


@pytest.mark.parametrize("front", FRONTS)
def test_every_client_gets_its_own_answer(results: dict[str, Result], front: str) -> None:
    answers = {path: (answer[9:12], answer.partition(_END)[2]) for path, answer in results[front].victims}
    assert {path: answer for path, answer in answers.items() if answer != (b"200", path.encode())} == {}


@pytest.mark.parametrize("front", FRONTS)
def test_a_front_passes_attacks_on(results: dict[str, Result], front: str) -> None:
    """Otherwise nothing has been tested."""
    seen = {each.query for each in results[front].seen if each.path == "/attack"}
    assert len(seen) > 10


def _rows() -> list[tuple[list[str], list[str]]]:
    text = (Path(__file__).parent / "README.md").read_text()
    return [(re.findall(r"`([^`]+)`", attacks), fronts.split(", ")) for attacks, fronts in ROW.findall(text)]


def test_every_disagreement_with_a_front_is_in_the_table(results: dict[str, Result]) -> None:
    found = {(name, front) for front in FRONTS for name in results[front].refused}
    rows = _rows()
    said = {
        (name, front)
        for name, front in found
        if any(front in fronts and any(fnmatchcase(name, each) for each in attacks) for attacks, fronts in rows)
    }
    assert found == said
    for attacks, fronts in rows:
        for each in attacks:
            assert any(fnmatchcase(name, each) and front in fronts for name, front in found), each
        for front in fronts:
            assert any(front == other and any(fnmatchcase(name, each) for each in attacks) for name, other in found)


async def test_our_server_alone_sees_a_second_request_only_where_there_is_one() -> None:
    site = Site()
    attacks = [each for each in ATTACKS.values() if not each.is_h2]
    async with HTTPServer(site, HTTPSettings(bind="127.0.0.1:0", stall_timeout=STALL)) as server:
        port = int(server.address.rpartition(":")[2])
        for start in range(0, len(attacks), 2 * AT_ONCE):
            for _, writer in await asyncio.gather(
                *[_attack(port, each) for each in attacks[start : start + 2 * AT_ONCE]]
            ):
                writer.close()
    seen = {NAMES[each.query] for each in site.seen if each.path == "/smuggled"}
    assert {name for name in seen if not any(fnmatchcase(name, each) for each in LEGITIMATE)} == set()
    for each in LEGITIMATE:
        assert any(fnmatchcase(name, each) for name in seen), each
