"""Two operators who change the same at the same time: each hears what is true, and the log has each action once."""

import asyncio
import json
import logging
from typing import Any

import pytest
from event_data import event_data
from kept_messages import bury, message, outgoing
from paho.mqtt.publish import single
from waiting import until

from gateway.console.kept import pages
from protocols.http.connection import HALF_CLOSED


async def both(here: Any, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """The last answers of calls that are made at the same time."""
    answers = await asyncio.gather(*(here.post(path, body) for path, body in calls))
    assert all(each.status_code == 200 for each in answers), [each.text for each in answers]
    return [(event_data(each.text) or [each.json()])[-1] for each in answers]


def audited(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.getMessage().startswith(f"{name} by ")]


def number_in(line: str) -> int:
    return int(line.split(": ")[1].split(",")[0])


@pytest.mark.parametrize("verb", ["retry", "drop"])
@pytest.mark.parametrize("kind", ["dead", "outgoing"])
async def test_one_entry_is_changed_once(site: Any, kind: str, verb: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    async with site() as here:
        await bury(here.store, message("both"))
        await here.store.put_outgoing([outgoing("both-out")])
        ids = ["both" if kind == "dead" else "both-out"]
        answers = await asyncio.gather(*(here.post(f"/api/{kind}/{verb}", {"ids": ids}) for _ in range(2)))
        last = [event_data(each.text)[-1] for each in answers if each.status_code == 200]
        gone = [each.json()["error"] for each in answers if each.status_code == 404]
        assert len(last) + len(gone) == 2
        assert all("there is no" in each for each in gone)
        if (kind, verb) != ("outgoing", "retry"):  # to send it now twice is true for both
            assert sum(each["changed"] for each in last) == 1
        assert len(lines := audited(caplog, f"{kind}_{verb}")) == 2
        assert all(json.dumps(ids) in line for line in lines)
        if (kind, verb) != ("outgoing", "retry"):
            assert sum(number_in(line) for line in lines) == 1, "the log has one removal"
        if verb == "drop":
            assert (await here.get(f"/api/{kind}/{ids[0]}")).status_code == 404


async def test_of_several_that_are_named_the_others_are_changed_if_one_is_gone(site: Any) -> None:
    async with site() as here:
        await bury(here.store, *(message(f"m{n}") for n in range(3)))
        await here.post("/api/dead/drop", {"ids": ["m1"]})
        told = event_data((await here.post("/api/dead/drop", {"ids": ["m0", "m1", "m2"]})).text)
        assert told[0] == {"matching": 3, "more": False}
        assert told[-1] == {"done": 3, "changed": 2, "finished": True}
        answer = await here.post("/api/dead/drop", {"ids": ["m0", "m1"]})
        assert (answer.status_code, "there is no dead letter" in answer.text) == (404, True)


async def test_two_changes_of_all_change_each_entry_once(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    async with site() as here:
        await bury(here.store, *(message(f"m{n:04}") for n in range(3000)))
        calls = [("/api/dead/drop", {"everything": True}), ("/api/dead/drop", {"error": "order"})]
        done = await both(here, *calls)
        assert sum(each["changed"] for each in done) == 3000
        assert all(each["finished"] and each["done"] >= each["changed"] for each in done)
        assert (await here.get("/api/dead")).json()["entries"] == []
        assert sum(number_in(line) for line in audited(caplog, "dead_drop")) == 3000


async def test_a_change_of_all_beside_one_of_a_single_entry(site: Any) -> None:
    async with site() as here:
        await bury(here.store, *(message(f"m{n:04}") for n in range(2000)))
        calls = [("/api/dead/drop", {"everything": True}), ("/api/dead/drop", {"ids": ["m1999"]})]
        done = await both(here, *calls)
        assert sum(each["changed"] for each in done) == 2000


async def test_what_mqtt_has_is_removed_once(site: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    async with site() as here:
        host, _, port = here.server("devices").rpartition(":")
        for n in range(20):
            await asyncio.to_thread(single, f"t/{n}", "1", qos=1, retain=True, hostname=host, port=int(port))
        done = await both(here, *[("/api/retained/delete", {"filter": "t/#"})] * 2)
        assert sum(each["removed"] for each in done) == 20
        assert (await here.get("/api/retained?filter=t/%23")).json()["total"] == 0
        assert sum(number_in(line) for line in audited(caplog, "retained.delete")) == 20


async def test_the_log_has_the_number_after_a_change_that_its_client_has_left(
    site: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that has begun comes to its end, and counts."""
    caplog.set_level(logging.INFO, "gateway.console.audit")
    monkeypatch.setattr(pages, "BATCH", 100)
    begun, goes_on = asyncio.Event(), asyncio.Event()
    async with site() as here:
        await bury(here.store, *(message(f"m{n:04}") for n in range(1000)))
        drop = here.store.drop

        async def slow(ids: Any) -> int:
            if len(await here.store.dead(limit=1000)) == 500:
                begun.set()
                await goes_on.wait()
            return int(await drop(ids))

        monkeypatch.setattr(here.store, "drop", slow)
        leaving = asyncio.create_task(here.post("/api/dead/drop", {"error": "order"}))
        await begun.wait()
        assert audited(caplog, "dead_drop") == [], "it has not ended"
        leaving.cancel()
        await asyncio.wait({leaving})
        await asyncio.sleep(3 * HALF_CLOSED)  # a FIN alone may come from a client that waits for its answer
        goes_on.set()
        await until(lambda: audited(caplog, "dead_drop"))
        (line,) = audited(caplog, "dead_drop")
        assert line == 'dead_drop by somebody from 127.0.0.1: 600, {"error": "order"}'
        assert len(await here.store.dead(limit=1000)) == 400


async def test_the_log_has_no_line_for_what_only_counts_or_is_refused(
    site: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.console.audit")
    async with site() as here:
        await bury(here.store, message("m1"))
        await here.post("/api/dead/drop", {"everything": True, "dry_run": True})
        await here.post("/api/dead/drop", {"error": ""})
        assert audited(caplog, "dead_drop") == []
