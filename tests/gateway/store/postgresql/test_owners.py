"""Processes that die, sleep, or are cut off from the database: others take over what they had, and nothing is lost."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from lost_commit import cut_after_the_next_commit
from servers.postgresql import Database, PostgreSQL, database, emptied, postgresql
from waiting import until

from gateway.store import Message, Store, StoreUnavailable, engine_of
from gateway.store.postgresql import store as postgresql_store
from gateway.store.postgresql.owner import Owner
from gateway.store.postgresql.sql import owners
from gateway.store.postgresql.sql.arrays import register

pytestmark = pytest.mark.timeout(90)

HOLDING = Path(__file__).with_name("holding.py")


def a_message(event: str, key: str = "") -> Message:
    return Message(event, "mqtt", "r", key or event, 1.0, b"x")


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = engine_of(url).store()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def beaten(place: Database, times: int = 2) -> None:
    """Wait until each owner has beaten ``times`` more: with the second beat it has seen all that are here now."""
    with place.server.admin(place.name) as admin:

        def beats() -> dict[int, int]:
            return dict(admin.execute("SELECT id, beat FROM gateway_owners").fetchall())

        before = beats()
        await until(lambda: all(beats().get(owner, 0) >= beat + times for owner, beat in before.items()))


@contextlib.contextmanager
def holding(url: str) -> Iterator["subprocess.Popen[str]"]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, HOLDING, url], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(process: "subprocess.Popen[str]", what: str) -> str:
    assert process.stdin is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    return said(process)


async def taken_over(store: Store) -> Message:
    """The message, as soon as the store has it for us."""
    taken: list[Message] = []

    async def take() -> bool:
        taken.extend(await store.take(1, now=store.now()))
        return bool(taken)

    await until(take)
    return taken[0]


async def test_what_a_killed_process_had_is_taken_over_by_itself() -> None:
    url = emptied().url
    async with opened(url) as store, asyncio.timeout(30):
        await store.put(a_message("m"))
        with holding(url) as process:
            assert said(process) == "has m True"
            assert await store.take(1, now=store.now()) == []
            process.kill()
            message = await taken_over(store)
        assert (message.attempts, message.alone) == (2, True)
        claim = await store.claim("key", id="again", now=store.now(), ttl=60)
        assert (claim.id, claim.state, claim.attempts) == ("claimed", "ours", 2)
        assert await store.acquire("role")


async def test_one_that_slept_finds_that_nothing_is_its_own_any_more() -> None:
    url = emptied().url
    async with opened(url) as store, asyncio.timeout(60):
        await store.put(a_message("m"))
        with holding(url) as process:
            assert said(process) == "has m True"
            process.send_signal(signal.SIGSTOP)
            message = await taken_over(store)
            assert await store.acquire("role")
            await store.put(a_message("n"))
            process.send_signal(signal.SIGCONT)
            assert ask(process, "lost") == "took n", "it is an owner again"
            assert await store.get("m") is not None, "what it had finished is ours, and is not over"
        await store.finish(message.id)
        assert await store.get("m") is None


async def test_one_that_slept_within_a_transaction_finds_it_too() -> None:
    """Its row is locked, and waits for the end of that transaction. Its names do not."""
    place = emptied()
    async with opened(place.url) as store, asyncio.timeout(60):
        await store.put(a_message("m"))
        with holding(place.url) as process, place.connect() as session:
            assert said(process) == "has m True"
            session.execute("BEGIN")
            session.execute("SELECT 1 FROM gateway_messages FOR UPDATE")  # as its handler's transaction does
            process.send_signal(signal.SIGSTOP)
            await _one_owner_is_left(place)
            assert await store.acquire("role")
            assert await store.recover() == 0
            session.execute("ROLLBACK")
            assert await store.recover() == 1
            assert [message.id for message in await store.take(1, now=store.now())] == ["m"]
            process.send_signal(signal.SIGCONT)
            assert ask(process, "lost") == "took"
            assert await store.get("m") is not None


async def test_one_that_slept_takes_nothing_before_it_knows() -> None:
    """Its take and its beat are under way at the same moment when it wakes."""
    place = emptied()
    url = place.url
    async with opened(url) as store, asyncio.timeout(60):
        await store.put(a_message("m"))
        with holding(url) as process:
            said(process)
            for number in range(3):
                process.send_signal(signal.SIGSTOP)
                await _one_owner_is_left(place)
                await store.put(a_message(f"n{number}"))
                process.send_signal(signal.SIGCONT)
                ask(process, "at once")
            process.kill()
            await _one_owner_is_left(place)
        counts = await store.counts()
        assert (counts.waiting, counts.running) == (4, 0), "none runs for an owner that is no more"


async def test_one_that_was_given_up_writes_nothing_over_what_another_has_kept_since() -> None:
    """Also if that one has gone by now: its broker wakes with what it knew before, and would write that."""
    place = emptied()
    async with opened(place.url) as one, asyncio.timeout(60):
        await one.load("s")
        await one.save("s", {"a": b"1"})
        await _give_up(place, one)
        await one.save("s", {"a": b"2"})
        await _give_up(place, one)
        async with opened(place.url) as two:
            assert await two.load("s") == {"a": b"2"}, "nobody had it between"
            await two.save("s", {"a": b"3"})
        with pytest.raises(StoreUnavailable, match="another gateway"):
            await one.save("s", {"a": b"4"})
        assert await one.load("s") == {"a": b"3"}
        await one.save("s", {"a": b"5"})
        assert await one.load("s") == {"a": b"5"}


async def _give_up(place: Database, store: Store) -> None:
    """As another process does that sees no beat of it."""
    owner = int(store.owner)
    with place.connect() as session:
        register(session)
        await until(lambda: owners.take_over(session, owner, owners.beats(session)[owner]) is not None)
    await until(lambda: int(store.owner) != owner)


async def _one_owner_is_left(place: Database) -> None:
    with place.connect() as session:
        await until(lambda: session.execute("SELECT count(*) FROM gateway_owners").fetchone() == (1,))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as server:
        yield server


async def test_a_server_that_restarts_loses_nothing_and_nobody_is_given_up(server: PostgreSQL) -> None:
    with database(server) as place:
        async with opened(place.url) as store, opened(place.url) as other, asyncio.timeout(60):
            await store.put_all([a_message("mine"), a_message("waits")])
            [mine] = await store.take(1, now=store.now())
            for end in (server.stop, server.crash):
                await asyncio.to_thread(end)
                with pytest.raises(StoreUnavailable, match=r"postgresql://gateway:\*\*\*@127\.0\.0\.1"):
                    await store.put(a_message("lost"))
                server.start()  # in this thread: the server ends with the thread that has started it
                await _works(store)
                await _works(other)
            await beaten(place, 6)  # for longer than a silent owner has
            assert [each.id for each in await other.take(9, now=other.now())] == ["waits"], "mine is not given up"
            await store.finish(mine.id)
            assert await store.get("mine") is None


async def _works(store: Store) -> None:
    async def probe() -> bool:
        with contextlib.suppress(StoreUnavailable):
            await store.probe()
            return True
        return False

    await until(probe)


async def test_a_server_that_does_not_answer_is_not_waited_for(
    server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_store, "ANSWER", 0.5)
    with database(server) as place:
        async with opened(place.url) as store, asyncio.timeout(60):
            server.pause()
            try:
                with pytest.raises(StoreUnavailable, match=r"has not answered for 0.5 s"):
                    await store.put(a_message("m"))
            finally:
                server.resume()
            await _works(store)
            await store.put(a_message("n"))
            assert (await store.get("n")) is not None


async def test_sessions_that_are_ended_are_replaced(server: PostgreSQL) -> None:
    with database(server) as place:
        async with opened(place.url) as store, asyncio.timeout(60):
            owner = store.owner
            for number in range(5):
                server.terminate(place.name)
                with contextlib.suppress(StoreUnavailable):
                    await store.put(a_message(f"m{number}"))
                await _works(store)
            await beaten(place)
            assert store.owner == owner


async def test_what_may_have_been_taken_when_an_answer_was_lost_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(emptied().url) as store, asyncio.timeout(30):
        await store.put(a_message("m"))
        cut_after_the_next_commit(monkeypatch)
        with pytest.raises(StoreUnavailable):
            await store.take(1, now=store.now())
        assert (await taken_over(store)).attempts == 1


async def test_a_store_that_is_cancelled_while_it_opens_is_closed_outside_of_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release, released_in = Owner.release, list[threading.Thread]()

    def noted(owner: Owner) -> None:
        released_in.append(threading.current_thread())
        release(owner)

    monkeypatch.setattr(Owner, "release", noted)
    place = emptied()
    opening = asyncio.ensure_future(engine_of(place.url).store().open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await until(lambda: released_in)
    assert released_in != [threading.main_thread()]
    with place.connect() as session:
        await until(lambda: session.execute("SELECT count(*) FROM gateway_owners").fetchone() == (0,))
