"""Transactions of handlers that end later than their gateway."""

import asyncio
import threading
from pathlib import Path

import pytest

from gateway.delivery.transactions import Running, Transactions
from gateway.store import engine_of


def test_a_handler_that_runs_longer_than_the_event_loop_leaves_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()

    async def begin() -> Running:
        store = engine_of(f"sqlite:{tmp_path}/gateway.db").store()
        await store.open()
        running = await Transactions(store).begin([])
        running._thread.submit(go_on.wait, 20)
        running.abandon()
        await store.close()
        return running

    running = asyncio.run(begin())
    go_on.set()
    running._thread.submit(running._thread.transaction.close)
    running._thread.shutdown()
    assert caplog.text == ""
