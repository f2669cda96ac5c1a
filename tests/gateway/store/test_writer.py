"""One call that cannot be done is its caller's alone."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from gateway.store.sqlite.file.connection import FairConnection
from gateway.store.values import StoreUnavailable
from gateway.store.writer import MOST_TROUBLES, Fault, Writer


def fails(database: Any, calls: Sequence[Any]) -> Sequence[Any]:
    return [calls[number + 1] for number in range(len(calls))]


def works(database: Any, calls: Sequence[int]) -> Sequence[int]:
    return calls


async def test_a_mistake_in_an_operation_does_not_end_the_thread(tmp_path: Path) -> None:
    database = FairConnection(tmp_path / "x.db")
    writer = Writer(database, lambda: database, lambda error: Fault.OWN)
    async with asyncio.timeout(10):
        calls = [writer.run(works, 1), writer.run(fails, 0), writer.run(works, 2)]
        one, error, two = await asyncio.gather(*calls, return_exceptions=True)
        assert (one, type(error), two) == (1, IndexError, 2)
        with pytest.raises(IndexError):
            await writer.run(fails, 0)
        assert await writer.run(works, 3) == 3
        await writer.close()


@pytest.mark.parametrize("turns", [0, 1])
async def test_what_reaches_nobody_is_undone_before_the_end(tmp_path: Path, turns: int) -> None:
    undone: list[int] = []
    began, go_on = threading.Event(), threading.Event()

    def slow(database: Any, calls: Sequence[int]) -> Sequence[int]:
        began.set()
        go_on.wait(10)
        return calls

    def undo(database: Any, calls: Sequence[int]) -> Sequence[None]:
        undone.extend(calls)
        return [None] * len(calls)

    database = FairConnection(tmp_path / "x.db")
    writer = Writer(database, lambda: database, lambda error: Fault.OWN)
    async with asyncio.timeout(10):
        call = asyncio.create_task(writer.run(slow, 1, undo=undo))
        assert await asyncio.to_thread(began.wait, 10)
        call.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        closing = asyncio.create_task(writer.close())
        await asyncio.sleep(0.02)
        go_on.set()
        await closing
    assert undone == [1]


async def test_a_close_that_is_cancelled_ends_the_thread(tmp_path: Path) -> None:
    database = FairConnection(tmp_path / "x.db")
    writer = Writer(database, lambda: database, lambda error: Fault.OWN)
    closing = asyncio.create_task(writer.close())
    await asyncio.sleep(0)
    closing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await closing
    await until(lambda: not writer._thread.is_alive())


async def test_errors_that_differ_each_time_take_no_memory_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(database: Any, calls: Sequence[int]) -> Sequence[int]:
        raise OSError(f"row {calls[0]}")

    database = FairConnection(tmp_path / "x.db")
    writer = Writer(database, lambda: database, lambda error: Fault.PASSING)
    for number in range(3 * MOST_TROUBLES):
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await writer.run(refuses, number)
    assert len(writer._troubles) <= MOST_TROUBLES
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 3 * MOST_TROUBLES, "each is logged once"
    await writer.close()
