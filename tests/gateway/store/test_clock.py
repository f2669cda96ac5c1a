"""The store's clock goes on as before when the machine's clock is set."""

import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

import pytest

from gateway.store import Message, Outgoing
from gateway.store.sqlite import SQLiteStore
from gateway.store.sqlite.sql import clock as store_clock
from gateway.store.values import KEEP

HOUR = 3600.0
Step = Callable[[float], None]


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """Sets the machine's clock forward, or back."""
    real, ahead = time.time, [0.0]
    monkeypatch.setattr("time.time", lambda: real() + ahead[0])

    def stepped(seconds: float) -> None:
        ahead[0] += seconds

    return stepped


@pytest.fixture
async def store(tmp_path: Path, step: Step) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "gateway.db")
    await store.open()
    yield store
    await store.close()


async def again(store: SQLiteStore) -> None:
    await store.close()
    await store.open()


async def failed(store: SQLiteStore, wait: float) -> None:
    """A message, and something to be sent, that are to be tried again."""
    await store.put(Message("m", "mqtt", "route", "m", time.time(), b""))
    await store.take(1, now=store.now())
    await store.finish("m", outgoing=[Outgoing("m-0", "m", "sms", b"", since=store.now())])
    await store.take_outgoing(1, now=store.now())
    await store.retry_outgoing("m-0", due=store.now() + wait, error="E")
    await store.put(Message("n", "mqtt", "route", "n", time.time(), b""))
    await store.take(1, now=store.now())
    await store.retry("n", due=store.now() + wait, error="E")


@pytest.mark.parametrize("seconds", [-HOUR, HOUR, -50 * 365 * 24 * HOUR])
async def test_it_is_the_same_in_every_process_whatever_the_machine_s_says(
    store: SQLiteStore, step: Step, seconds: float
) -> None:
    before = store.now()
    assert abs(before - time.time()) < 5
    step(seconds)
    other = SQLiteStore(store.path)
    await other.open()
    assert 0 <= store.now() - before < 5
    assert abs(store.now() - other.now()) < 0.1
    await other.close()
    await again(store)
    assert 0 <= store.now() - before < 5


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
async def test_what_waits_is_shown_by_the_machine_s_clock_of_today(
    store: SQLiteStore, step: Step, seconds: float
) -> None:
    await failed(store, 100.0)
    step(seconds)
    [message], [item] = await store.waiting(), await store.outgoing()
    summary = await store.summary("n")
    assert summary is not None
    for each in (message, item, summary):
        assert 90 < each.due - time.time() < 101
    assert 90 < (await store.next_due() or 0) - store.now() < 101


async def test_what_is_first_received_is_by_the_machine_s_clock(store: SQLiteStore, step: Step) -> None:
    step(HOUR)
    claim = await store.claim("key", id="e", now=store.now(), ttl=60.0)
    assert abs(claim.received - time.time()) < 5


async def test_a_machine_that_starts_with_another_time_waits_no_longer(
    store: SQLiteStore, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a battery it begins in 1970, or where its clock was an hour ago."""
    await failed(store, 100.0)
    claim = await store.claim("key", id="e", now=store.now(), ttl=60.0)
    await store.settle(claim, result=b"")
    monkeypatch.setattr(store_clock, "boot", lambda: "another start")
    step(-HOUR)
    await again(store)
    assert abs(store.now() - time.time()) < 5
    assert 90 < (await store.next_due() or 0) - store.now() < 101
    assert await store.take_outgoing(1, now=store.now()) == []
    assert len(await store.take_outgoing(1, now=store.now() + 101)) == 1
    assert (await store.claim("key", id="e2", now=store.now() + 50, ttl=60.0)).state == "done"
    assert (await store.claim("key", id="e2", now=store.now() + 61, ttl=60.0)).state == "ours"


async def test_a_system_that_names_no_start_has_a_new_clock_at_each_opening(
    store: SQLiteStore, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    await failed(store, 100.0)
    monkeypatch.setattr(store_clock, "boot", lambda: "")
    for _ in range(2):
        step(-HOUR)
        await again(store)
        assert 90 < (await store.next_due() or 0) - store.now() < 101


@pytest.mark.parametrize("seconds", [-HOUR, HOUR, 50 * 365 * 24 * HOUR])
async def test_the_life_of_what_leaves_is_by_the_store_s_clock(store: SQLiteStore, step: Step, seconds: float) -> None:
    """A machine without a battery sends before it hears the time: its clock then goes forward by half a century."""
    await failed(store, 100.0)
    step(seconds)
    for _ in range(2):
        [taken] = await store.take_outgoing(1, now=store.now() + 101)
        assert 0 <= store.now() - taken.since < 5
        await store.retry_outgoing("m-0", due=store.now() + 100, error="E")
        [listed], shown = await store.outgoing(), await store.get_outgoing("m-0")
        assert shown is not None
        assert listed.received == pytest.approx(time.time(), abs=5)
        assert shown.since == pytest.approx(time.time(), abs=5)
        assert shown.due == pytest.approx(time.time() + 100, abs=5)
        told = (await store.history("m"))[-1]
        assert _until(told.what) == pytest.approx(time.time() + 100, abs=5)
        await store.requeue_outgoing(["m-0"])  # a new life


def _until(told: str) -> float:
    return datetime.fromisoformat(told.rpartition("waits until ")[2]).timestamp()


async def test_the_story_of_what_is_done_is_kept_as_long_though_the_clock_is_set_back(
    store: SQLiteStore, step: Step
) -> None:
    """A device that repeats a message at QoS 2 is recognized by it."""
    step(-2 * KEEP)
    await failed(store, 100.0)
    await store.purge(now=store.now())
    assert [each.what for each in await store.history("m")][-1] != "received"
    await store.purge(now=store.now() + 2 * KEEP)
    assert await store.history("m") == []


async def test_a_machine_that_starts_with_an_earlier_time_keeps_nothing_for_longer_than_anew(
    store: SQLiteStore, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    await failed(store, 0.0)
    monkeypatch.setattr(store_clock, "boot", lambda: "another start")
    step(-10 * KEEP)
    await again(store)
    [item] = await store.take_outgoing(1, now=store.now() + 5)
    assert 0 <= store.now() - item.since < 5
    await store.purge(now=store.now() + 2 * KEEP)
    assert await store.history("m") == []
