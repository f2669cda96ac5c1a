"""``gateway store copy``: everything arrives, or nothing."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from servers.postgresql import database
from servers.site import until
from store_contract import a_message, ids

from gateway.store import Engine, Outgoing, OutgoingState, Search, Store, StoreUnavailable, engine_of
from gateway.store.copying import copy

LONG = "topic/" + "é" * 5000
COMMAND = [sys.executable, "-m", "gateway"]
WAYS = [("sqlite", "postgresql"), ("postgresql", "sqlite"), ("sqlite", "sqlite"), ("postgresql", "postgresql")]


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, list[str]]]:
    """Two empty places of each engine."""
    with database() as one, database() as two:
        files = [f"sqlite:{tmp_path / name / 'gateway.db'}" for name in ("one", "two")]
        yield {"sqlite": files, "postgresql": [one.url, two.url]}


@pytest.fixture(params=WAYS, ids=lambda way: "-".join(way))
def way(request: Any, places: dict[str, list[str]]) -> tuple[Engine, Engine]:
    source, target = request.param
    return engine_of(places[source][0]), engine_of(places[target][1])


@contextlib.asynccontextmanager
async def opened(engine: Engine) -> Any:
    store = engine.store()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def fill(store: Store) -> None:
    """Something of everything."""
    due = store.now() + 5000
    await store.put_all([a_message("k1", key="k"), a_message("k2", key="k"), a_message("long", key=LONG)])
    await store.put(a_message("later", due=due, content=bytes(range(256)) * 500))
    await store.put(a_message("first", priority=5))
    for id in ("gone", "dead", "failed", "running"):
        await store.put(a_message(id, subject="\u20ac \udce9 \0", priority=900))
        [message] = await store.take(1, now=store.now(), busy=["k", LONG])
        if id == "gone":
            items = [Outgoing(f"gone-{n}", "gone", "sms", b"text", lane=LONG) for n in range(2)]
            await store.finish(id, outgoing=[items[0], replace(items[1], behind="gone-0", due=due)])
        elif id == "dead":
            await store.dead_letter(message, error="E: no")
        elif id == "failed":
            await store.retry(id, due=due, error="E: not yet")
    claim = await store.claim("done", id="c1", now=store.now(), ttl=5000)
    await store.settle(claim, result=b"\0\xff")
    await store.claim(LONG, id="c2", now=store.now(), ttl=5000, failed_as="like")
    await store.release(LONG, error="E")
    await store.claim("busy", id="c3", now=store.now(), ttl=5000)
    await store.put_outgoing([Outgoing("o1", "", "email", b"", lane="rests"), Outgoing("o2", "", "mqtt", b"")])
    await store.take_outgoing(9, now=store.now(), busy=[LONG])
    await store.retry_outgoing("o1", due=due, error="refused", rests=True)
    await store.dead_letter_outgoing("o2", error="no such user")
    await store.load("devices")
    await store.save("devices", {LONG: b"1", "b": b"\0"})
    await store.note("note", b"n", ttl=5000)


async def all_of(store: Store) -> dict[str, Any]:
    """What an operator and servers see of it."""
    found = await store.find("", within=Search.EVENTS, limit=100)
    told = {id: [step.what for step in await store.history(id)] for id in found}
    items = [await store.get_outgoing(each.id) for each in await store.outgoing()]
    return {
        "waiting": [near(each, store.now()) for each in await store.waiting()],
        "contents": [await store.get(id) for id in ("k1", "later", "dead")],
        "dead": await store.dead(),
        "items": [item and near(replace(item, since=0.0), store.now()) for item in items],
        "counts": await store.counts(),
        "histories": told,
        "kept": await store.load("devices"),
        "note": await store.noted(["note"]),
        "known": [await store.is_known(id) for id in ("gone", "never")],
    }


def near(each: Any, now: float) -> Any:
    """The same with how long it has to wait, in ten seconds."""
    return replace(each, due=round((each.due - now) / 10) if each.due > 1 else each.due, **short(each))


def short(each: Any) -> dict[str, str]:
    """An index of PostgreSQL cannot hold the whole of a long key, or lane."""
    return {name: value[:500] for name in ("key", "lane") if (value := getattr(each, name, ""))}


async def test_everything_arrives_and_what_a_process_had_is_given_back(way: tuple[Engine, Engine]) -> None:
    source, target = way
    async with opened(source) as store:
        await fill(store)
    seen: list[tuple[int, int]] = []
    copied = copy(source, target, lambda done, total: seen.append((done, total)))
    total = sum(copied.values())
    assert copied == {"messages": 9, "claims": 3, "outgoing": 4, "kept": 2, "resting": 1, "notes": 1}
    assert seen[-1] == (total, total)
    async with opened(source) as old, opened(target) as new:
        assert await all_of(new) == await all_of(old)
        now = new.now()
        assert (await new.claim("done", id="x", now=now, ttl=9)).result == b"\0\xff"
        if str(target).startswith("postgresql"):  # it has a digest of a long key, which a file does not look for
            assert (await new.claim(LONG, id="x", now=now, ttl=9)).id == "c2"
        assert (await new.claim("busy", id="x", now=now, ttl=9)).id == "c3"
        assert ids(await new.take(9, now=now)) == ids(await old.take(9, now=now)) == ["running"]
        for store in (old, new):
            await store.finish("running")
        assert ids(await new.take(9, now=now)) == ids(await old.take(9, now=now)) == ["first", "k1", "long"]
        await new.finish("long")
        assert [each.id for each in await new.take_outgoing(9, now=now)] == ["gone-0"]


async def test_a_lane_with_a_long_name_rests_in_the_copy(places: dict[str, list[str]]) -> None:
    source, target = engine_of(places["sqlite"][0]), engine_of(places["postgresql"][0])
    async with opened(source) as store:
        await store.put_outgoing([Outgoing("o1", "", "email", b"", lane=LONG)])
        await store.take_outgoing(1, now=store.now())
        await store.retry_outgoing("o1", due=store.now() + 5000, error="refused", rests=True)
    assert copy(source, target, print)["resting"] == 1
    async with opened(target) as store:
        assert [each.state for each in await store.outgoing()] == [OutgoingState.RESTING]


async def test_a_store_that_holds_something_or_is_in_use_is_left_alone(way: tuple[Engine, Engine]) -> None:
    source, target = way
    async with opened(source) as store:
        await store.put(a_message("m"))
        with pytest.raises(StoreUnavailable, match="is in use: stop the gateway"):
            copy(source, target, print)
    async with opened(target):
        with pytest.raises(StoreUnavailable, match="is in use: stop the gateway"):
            copy(source, target, print)
    copy(source, target, print)
    with pytest.raises(StoreUnavailable, match="holds 1 rows of messages: copy into an empty store"):
        copy(source, target, print)
    with pytest.raises(StoreUnavailable, match="cannot be copied into itself"):
        copy(source, source, print)
    async with opened(target) as store:
        assert (await store.counts()).waiting == 1


async def test_what_is_interrupted_leaves_nothing(way: tuple[Engine, Engine]) -> None:
    source, target = way
    async with opened(source) as store:
        await store.put_all([a_message() for _ in range(3000)])

    def interrupt(done: int, total: int) -> None:
        if done >= 2000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(source, target, interrupt)
    assert copy(source, target, print)["messages"] == 3000
    async with opened(target) as store:
        assert (await store.counts()).waiting == 3000


def gateway(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, "store", "copy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


async def test_the_command_says_what_it_copied_and_shows_no_password(places: dict[str, list[str]]) -> None:
    [url, _], [file, _] = places["postgresql"], places["sqlite"]
    nothing = gateway(file, url)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "there is no store at " in nothing.stderr
    async with opened(engine_of(file)) as store:
        await store.put_all([a_message("a"), a_message("b")])
    done = gateway(file, url)
    assert done.stdout.startswith("copied 2 messages to postgresql://gateway"), done.stderr
    again = gateway(file, url)
    assert again.returncode == 1
    assert "holds 2 rows of messages" in again.stderr
    for each in (nothing, done, again):
        assert "s3cret" not in each.stdout + each.stderr
    wrong = gateway("nowhere:x", url)
    assert wrong.returncode == 2
    assert "is not a store" in wrong.stderr


def copying(file: str, url: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([*COMMAND, "store", "copy", file, url], stderr=subprocess.PIPE)
    with psycopg.connect(url, autocommit=True) as session:
        sql = "SELECT count(*) FROM pg_stat_progress_copy"
        until(lambda: session.execute(sql).fetchone() != (0,), "it copies")
    return process


async def test_a_command_that_is_killed_leaves_nothing(places: dict[str, list[str]]) -> None:
    [file, _], [url, _] = places["sqlite"], places["postgresql"]
    async with opened(engine_of(file)) as store:
        for _ in range(20):
            await store.put_all([a_message(content=b"x" * 5000) for _ in range(1000)])
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        with copying(file, url) as process:
            process.send_signal(number)
            assert process.wait(20) != 0
            assert process.stderr is not None
            assert b"Traceback" not in process.stderr.read()
    assert gateway(file, url).stdout.startswith("copied 20000 messages")
