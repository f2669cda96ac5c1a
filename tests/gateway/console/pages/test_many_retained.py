"""The pages on retained messages where there are very many: each is a page, the loop goes on, memory is bounded."""

import asyncio
import os
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.console.http import pages
from protocols.mqtt.broker.message import ApplicationMessage

MANY = int(os.environ.get("GATEWAY_RETAINED", "100000"))
"""`make faults` has a million."""

pytestmark = pytest.mark.timeout(600)


def fill(here: Any) -> None:
    retained = here.running.gateway.servers.named("devices").broker.retained
    retained.follow(1 << 40)
    for number in range(MANY):
        group, device = divmod(number, MANY // 10)
        retained.retain(ApplicationMessage(f"plant/{group}/device/{device:06}/temperature", b"21.5", 1, retain=True))


class Measured:
    """Counts the turns of the event loop while a request is answered."""

    def __init__(self) -> None:
        self.turns = 0

    async def _turn(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    async def of(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        turning = asyncio.create_task(self._turn())
        try:
            return await ask()
        finally:
            turning.cancel()


async def test_the_pages_of_very_many_retained_messages(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PATIENCE", 300.0)  # a test's machine is slow
    async with site() as here:
        here.client.timeout = 300
        fill(here)
        slices = MANY // 10_000  # of 5 ms each, of which one looks at some thousand messages
        for path, shown in (("/retained", 50), ("/retained?by=size", 50), ("/retained?filter=plant/3/%23", 50)):
            measured = Measured()
            page = await measured.of(lambda path=path: here.get(path))
            assert page.status_code == 200
            assert page.text.count('name="chosen"') == shown
            assert measured.turns > slices / 10, "others have their turn"
        first = (await here.get("/api/retained?limit=1000")).json()
        assert (first["total"], len(first["entries"])) == (MANY, 1000)
        last = f"plant/9/device/{MANY // 10 - 1:06}/temperature"
        assert (await here.get(f"/retained/show?topics={last}&server=devices")).status_code == 200
        tracemalloc.start()
        try:
            assert (await here.get("/retained?filter=plant/3/%23")).status_code == 200
            assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024, "a search keeps one page"
        finally:
            tracemalloc.stop()
        measured = Measured()
        gone = await measured.of(lambda: here.post("/api/retained/delete", {"filter": "#"}))
        assert gone.json() == {"found": MANY, "removed": MANY}
        assert measured.turns > slices
        assert (await here.get("/api/retained")).json()["total"] == 0
