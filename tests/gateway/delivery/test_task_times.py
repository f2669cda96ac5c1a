"""The machine's clock is set while a task waits for its ``run_after``."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from test_worker import working
from waiting import until

from gateway import Policy, ProtocolTypeRouter
from gateway.scopes.task.queue import TaskRoutes
from gateway.scopes.task.router import TaskRouter, queue
from gateway.store.sqlite import SQLiteStore

CALL: Any = {"type": "task.receive", "args": [], "kwargs": {}}


def scope(run_after: float) -> Any:
    return {
        "type": "task",
        "listener": "default",
        "client": None,
        "server": None,
        "extensions": {"event": {"id": "t1"}},
        "state": {},
        "task": "shop.tasks.charge",
        "queue": "default",
        "priority": 0,
        "run_after": run_after,
        "enqueued_at": time.time(),
        "result_ttl": 60.0,
    }


@pytest.mark.parametrize("shift", [-0.7, 3600.0], ids=["back", "forward"])
async def test_it_waits_no_longer_than_it_was_to_and_until_the_clock_says_so(
    shift: float, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[float, int]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ran.append((time.time() + shift, scope["extensions"]["delivery"]["attempt"]))

    routed = ProtocolTypeRouter({"task": TaskRouter([queue("default", app, Policy(inbox=True, attempts=1))])})
    at = time.time() + 0.3
    await store.put_all([TaskRoutes(lambda: routed, "gateway.yaml").message(scope(at), CALL, store.now())])
    monkeypatch.setattr("gateway.scopes.task.delivery.time", SimpleNamespace(time=lambda: time.time() + shift))
    async with working(store, routed):
        await until(lambda: ran)
    ((moment, attempt),) = ran
    assert moment >= at - 0.06
    assert attempt == 1, "to wait is no attempt"
