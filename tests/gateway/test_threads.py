"""Sync code on threads: context, order of care for Django's connections, and nobody else held up."""

import asyncio
import subprocess
import sys
import textwrap
import threading
from contextvars import ContextVar

import pytest
from asgiref.local import Local
from asgiref.sync import async_to_sync, sync_to_async
from own_services import threads
from waiting import until

from gateway.threads import call_from_thread, run_in_thread

LIMIT = 10.0
word: ContextVar[str] = ContextVar("word", default="none")

WITH_DJANGO = """
    import asyncio, django, tempfile
    from django.conf import settings
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": tempfile.mktemp(), "CONN_MAX_AGE": %s}
    settings.configure(DATABASES={"default": database})
    django.setup()
    from django.db import connection
    from gateway.services import install
    from gateway.threads import Pool, run_in_thread, thread_pool

    def query():
        connection.cursor().execute("SELECT 1")
        return connection.connection is not None

    async def main():
        install({thread_pool: Pool(1)})
        assert await run_in_thread(query)
        print(await run_in_thread(lambda: connection.connection is None))

    asyncio.run(main())
"""


@pytest.mark.parametrize(("max_age", "closed"), [("0", "True"), ("None", "False")])
def test_djangos_connections_are_closed_after_a_handler_unless_they_are_to_be_kept(max_age: str, closed: str) -> None:
    script = textwrap.dedent(WITH_DJANGO % max_age)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == (closed, "")


def test_a_django_without_settings_is_left_alone() -> None:
    script = (
        "import asyncio, django.db; from gateway.threads import run_in_thread; asyncio.run(run_in_thread(print, 1))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")


async def test_the_context_reaches_the_thread_and_results_and_errors_come_back() -> None:
    word.set("here")
    assert await run_in_thread(lambda: (word.get(), threading.current_thread().name.startswith("handler"))) == (
        "here",
        True,
    )
    with pytest.raises(ZeroDivisionError):
        await run_in_thread(lambda: 1 // 0)


async def test_what_a_handler_sets_in_its_context_its_instance_keeps() -> None:
    local = Local()

    def connect() -> None:
        word.set("from connect")
        local.user = "ann"

    def receive() -> tuple[str, str]:
        return word.get(), local.user

    await run_in_thread(connect)
    assert word.get() == "from connect"
    assert await run_in_thread(receive) == ("from connect", "ann")


async def test_async_code_in_a_sync_handler_runs_on_the_same_loop_and_may_come_back() -> None:
    loop = asyncio.get_running_loop()

    async def answer() -> tuple[bool, str, int]:
        thread = await sync_to_async(lambda: threading.current_thread().name)()
        return asyncio.get_running_loop() is loop, thread, threading.get_ident()

    def handler() -> tuple[tuple[bool, str, int], str]:
        return async_to_sync(answer)(), threading.current_thread().name

    (same, thread, ident), own = await run_in_thread(handler)
    assert (same, thread, ident) == (True, own, threading.get_ident())


async def test_a_handler_that_raises_stop_iteration_ends() -> None:
    with pytest.raises(RuntimeError, match="the handler raised StopIteration"):
        async with asyncio.timeout(LIMIT):
            await run_in_thread(next, iter([]))


async def test_a_cancelled_call_does_not_wait_for_its_thread() -> None:
    started, release = threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        release.wait(LIMIT)

    call = asyncio.ensure_future(run_in_thread(hold))
    await asyncio.to_thread(started.wait, LIMIT)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(LIMIT / 2):
            await call
    release.set()


async def test_a_thread_may_ask_the_loop() -> None:
    loop = asyncio.get_running_loop()

    async def answer() -> int:
        return 42

    assert await run_in_thread(lambda: call_from_thread(loop, answer())) == 42


async def test_a_smaller_pool_is_bounded_and_the_loop_goes_on() -> None:
    with threads(2):
        gate, inside, most = threading.Event(), [0], [0]
        lock = threading.Lock()

        def block() -> None:
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            gate.wait(LIMIT)
            with lock:
                inside[0] -= 1

        calls = [asyncio.ensure_future(run_in_thread(block)) for _ in range(6)]
        await until(lambda: most[0] >= 2)
        gate.set()
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*calls)
        assert most[0] == 2


async def test_the_pools_use_is_counted() -> None:
    with threads(1) as pool:
        go_on = threading.Event()
        calls = [asyncio.ensure_future(run_in_thread(go_on.wait, LIMIT)) for _ in range(3)]
        await until(lambda: pool.use.running == 1)
        assert pool.use.waiting == 2
        calls[-1].cancel()
        await until(lambda: pool.use.waiting == 1)  # it will never begin
        go_on.set()
        await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(ZeroDivisionError):
            await run_in_thread(lambda: 1 // 0)
        await until(lambda: not pool.use.running)
        assert not pool.use.waiting
        assert sum(pool.use.waits.counts) == 3


async def test_a_call_that_its_caller_gave_up_still_has_its_thread() -> None:
    with threads(1) as pool:
        go_on = threading.Event()
        call = asyncio.ensure_future(run_in_thread(go_on.wait, LIMIT))
        await until(lambda: pool.use.running == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert pool.use.running == 1
        go_on.set()
        await until(lambda: not pool.use.running)
