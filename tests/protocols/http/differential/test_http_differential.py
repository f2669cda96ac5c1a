"""One application behind our server, uvicorn (h11 and httptools), daphne and granian: the same bytes give the same
scope and the same answer. README.md beside this file has the accepted differences, each with its reason."""

import asyncio
import json
import re
from collections import defaultdict
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from differential_cases import CASES, Case
from differential_client import Exchange, canonical, differences, exchange, without_probe
from differential_servers import PEERS, Served, serving
from servers.ports import free_port
from waiting import until

AT_ONCE = 24
"""Connections to one server."""
PORTS = {"ours": 2, "uvicorn": 4, "daphne": 1, "granian": 1}
ROW = re.compile(r"^\| (`[^|]+`) \| ([a-z0-9, -]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)


class Result(NamedTuple):
    exchange: Exchange
    runs: list[dict[str, Any]]


class Accepted(NamedTuple):
    """A row of README.md."""

    cases: tuple[str, ...]
    peers: tuple[str, ...]

    def holds(self, case: str, peer: str) -> bool:
        return peer in self.peers and any(fnmatchcase(case, each) for each in self.cases)


@cache
def accepted() -> list[Accepted]:
    text = (Path(__file__).parent / "README.md").read_text()
    return [
        Accepted(tuple(re.findall(r"`([^`]+)`", cases)), tuple(peers.split(", "))) for cases, peers in ROW.findall(text)
    ]


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _visit(served: dict[str, Served]) -> dict[tuple[str, str], Exchange]:
    found: dict[tuple[str, str], Exchange] = {}
    turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    async def one(case: Case, peer: str) -> None:
        name = f"{peer}/app" if case.rooted else peer
        if name in served:
            async with turns[name]:
                found[case.name, peer] = await exchange(served[name].port, case)

    for each in served.values():
        await until(lambda each=each: _listens(each.port))
    await asyncio.gather(*[one(case, peer) for case in CASES.values() for peer in ("ours", *PEERS)])
    for path in {each.runs for each in served.values()}:
        await until(lambda path=path: _have_ended(path))
    return found


def _have_ended(runs: Path) -> bool:
    lines = runs.read_text().splitlines()
    return lines.count("") * 2 == len(lines)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Result]:
    """What each server made of each case, by case and server."""
    folder = tmp_path_factory.mktemp("differential")
    with serving(folder, {name: [free_port() for _ in range(count)] for name, count in PORTS.items()}) as served:
        exchanges = asyncio.run(_visit(served))
    runs: defaultdict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for path in {each.runs for each in served.values()}:
        for line in filter(None, path.read_text().splitlines()):
            run = json.loads(line)
            runs[tuple(run["ports"])].append(run)
    return {key: Result(each, runs[each.server, each.port]) for key, each in exchanges.items()}


@pytest.mark.parametrize("name", CASES)
def test_our_server_answers_as_the_table_says(results: dict[tuple[str, str], Result], name: str) -> None:
    case, result = CASES[name], results[name, "ours"]
    assert tuple(answer[0] for answer in result.exchange.answers) == case.statuses
    assert (result.exchange.end == "keeps") == case.keeps
    assert len(without_probe(result.runs)) == case.runs


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", CASES)
def test_others_give_the_same_scope_and_the_same_answer(
    results: dict[tuple[str, str], Result], name: str, peer: str
) -> None:
    if (name, peer) not in results:
        assert CASES[name].rooted
        return
    ours, theirs = (canonical(CASES[name], *results[name, each]) for each in ("ours", peer))
    found = differences(ours, theirs)
    if any(each.holds(name, peer) for each in accepted()):
        return
    assert found == [], f"ours and {peer}"


def test_every_accepted_difference_is_one(results: dict[tuple[str, str], Result]) -> None:
    different = {
        (name, peer)
        for name, peer in results
        if peer != "ours" and differences(*(canonical(CASES[name], *results[name, each]) for each in ("ours", peer)))
    }
    rows = accepted()
    assert rows
    for row in rows:
        for pattern in row.cases:
            assert any(fnmatchcase(name, pattern) and peer in row.peers for name, peer in different), pattern
        for peer in row.peers:
            assert any(row.holds(name, peer) for name, other in different if other == peer), (row, peer)
