"""A blocked event loop and an exhausted pool are said in the log, with the place in the code."""

import asyncio
import logging
import re
import threading
import time

import pytest
from own_services import threads
from waiting import until

from gateway.runtime import watchdog
from gateway.runtime.watchdog import Watch
from gateway.threads import run_in_thread

LIMIT = 10.0


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(watchdog, "INTERVAL", 0.01)
    caplog.set_level(logging.WARNING, "gateway.runtime.watchdog")


def block_until(said: str, caplog: pytest.LogCaptureFixture) -> None:
    ends = time.monotonic() + LIMIT
    while said not in caplog.text and time.monotonic() < ends:
        time.sleep(0.01)


async def test_an_async_handler_that_blocks_is_named(caplog: pytest.LogCaptureFixture) -> None:
    Watch(asyncio.get_running_loop(), blocked=0.05).start()
    await asyncio.sleep(0)
    block_until("blocked", caplog)
    await until(lambda: "the event loop goes on" in caplog.text)
    [said, over] = [record.getMessage() for record in caplog.records]
    assert re.search(
        r"the event loop is blocked, .* at \S*test_watch.py:\d+; move what blocks into a sync consumer", said
    )
    assert re.match(r"the event loop goes on, after \d+\.\d s", over)


async def test_the_delay_of_the_loop_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    before = list(watchdog.loop_delay.counts), watchdog.loop_delay.sum
    Watch(asyncio.get_running_loop(), blocked=0.05).start()
    await until(lambda: sum(watchdog.loop_delay.counts) > sum(before[0]))
    block_until("blocked", caplog)
    await until(lambda: watchdog.loop_delay.sum - before[1] >= 0.05)


async def test_a_pool_whose_threads_never_return_says_where_they_are(caplog: pytest.LogCaptureFixture) -> None:
    with threads(3):
        await asyncio.gather(*(run_in_thread(time.sleep, 0.05) for _ in range(3)))  # another gateway's, idle
        with threads(2):
            release = threading.Event()
            stuck = [asyncio.ensure_future(run_in_thread(release.wait, LIMIT)) for _ in range(3)]
            await asyncio.sleep(0)
            Watch(asyncio.get_running_loop(), blocked=LIMIT, exhausted=0.05).start()
            await until(lambda: "all 2 threads are busy" in caplog.text)
            assert re.search(r"sync handlers wait for one: 2 at \S+:\d+", caplog.text)
            release.set()
            await asyncio.gather(*stuck)
            await until(lambda: "a thread is free again" in caplog.text)
