"""Pages of a gateway with a slow store: each is there in time or says in words that it is not; the daemon goes on."""

import asyncio
import re
import time
from typing import Any

import pytest
from event_data import event_data
from kept_messages import bury, message, outgoing

from gateway.console.http import pages
from gateway.console.kept import pages as kept_pages
from gateway.console.operations import status
from gateway.delivery import dispatcher
from gateway.store import writer

PATHS = [
    *("/", "/waiting", "/dead", "/dead?error=order", "/dead?error=nothing", "/outgoing", "/outgoing?text=x"),
    *("/dead/show?id=m0001", "/outgoing/show?id=sent1", "/waiting/show?id=m0001", "/live", "/reload", "/clients"),
]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the store slow: each of its turns takes so many seconds, on its thread."""
    commit = writer._commit

    def slower(seconds: float) -> None:
        def commit_slowly(database: Any, batch: Any) -> None:
            time.sleep(seconds)
            commit(database, batch)

        monkeypatch.setattr(writer, "_commit", commit_slowly)

    monkeypatch.setattr(pages, "PATIENCE", 2.0)
    monkeypatch.setattr(dispatcher, "PROBE", 0.2)
    monkeypatch.setattr(kept_pages, "LOOKED", 0.2)
    monkeypatch.setattr(status, "PATIENCE", 0.3)
    yield slower
    monkeypatch.setattr(writer, "_commit", commit)


@pytest.mark.parametrize("seconds", [0.1, 4.0])
async def test_each_page_answers_in_time_and_the_daemon_goes_on(site: Any, slow: Any, seconds: float) -> None:
    async with site() as here:
        await bury(here.store, *(message(f"m{n:04}") for n in range(50)))
        await here.store.put_outgoing([outgoing("sent1")])
        slow(seconds)
        asked = asyncio.gather(*(here.get(path) for path in PATHS))
        turns = 0
        while not asked.done():
            async with here.new_client() as client:
                assert (await client.get(f"http://{here.server('web')}/")).text == "ok"
            turns += 1
        assert turns > 5
        for path, answer in zip(PATHS, await asked, strict=True):
            assert answer.status_code in (200, 503), path
            if answer.status_code == 503:
                (said,) = re.findall(r'role="alert"[^>]*>([^<]+)', answer.text)
                assert "the store is slow" in said, path
            if path in ("/", "/live", "/reload", "/clients"):
                assert answer.status_code == 200, f"{path} needs no store"
        slow(0.0)


async def test_a_change_goes_on_in_a_slow_store(site: Any, slow: Any) -> None:
    async with site() as here:
        await bury(here.store, *(message(f"m{n:04}") for n in range(50)))
        slow(0.1)
        told = (await here.post("/api/dead/drop", {"everything": True})).text
        assert event_data(told)[-1] == {"done": 50, "changed": 50, "finished": True}
