"""Messages and outgoing items over HTTP: pages, filters, bulk changes, and what is not shown."""

import base64
import io
import tarfile
from types import SimpleNamespace
from typing import Any

import pytest
from event_data import event_data
from kept_messages import MAIL, bury, fill, message, outgoing
from waiting import until

from gateway.console.kept import pages, selection
from gateway.console.kept.selection import dead_letters
from gateway.console.operations import entries


async def all_pages(here: Any, query: str) -> list[str]:
    """The ids of a list, page by page."""
    found, after = [], ""
    for _ in range(100):
        page = (await here.get(f"/api/dead?{query}&after={after}")).json()
        found += [each["id"] for each in page["entries"]]
        if not (after := page["next"]):
            return found
    raise AssertionError("there is no end")


@pytest.mark.parametrize("limit", [1, 3, 10, 1000])
async def test_pages_lose_nothing_and_repeat_nothing(site: Any, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SCANNED", 4)
    async with site() as here:
        await bury(here.store, *(message(f"m{n}", subject=f"email a -> {n % 2}") for n in range(10)))
        assert await all_pages(here, f"limit={limit}") == [f"m{n}" for n in range(10)]
        assert await all_pages(here, f"limit={limit}&recipient=1") == [f"m{n}" for n in range(1, 10, 2)]
        page = (await here.get(f"/api/dead?recipient=1&count=true&limit={limit}")).json()
        assert page["total"] == 5, "list and count look at the same"


async def test_a_page_that_is_gone_in_between_ends_no_list(site: Any) -> None:
    async with site() as here:
        await bury(here.store, *(message(f"m{n}") for n in range(6)))
        first = (await here.get("/api/dead?limit=3")).json()
        await here.store.drop(["m0", "m1", "m2"])
        rest = (await here.get(f"/api/dead?limit=10&after={first['next']}")).json()
        assert [each["id"] for each in rest["entries"]] == ["m3", "m4", "m5"]


@pytest.mark.parametrize("after", ["x", "9:m1", "-1:m1", ":", "0"])
async def test_a_place_that_is_none(site: Any, after: str) -> None:
    async with site() as here:
        assert (await here.get(f"/api/dead?after={after}")).status_code == 400


EMPTY: list[dict[str, Any]] = [
    {},
    {"ids": []},
    {"text": ""},
    {"type": None, "error": ""},
    {"since": 0},
    {"ids": ["m1"], "error": "order"},
    {"ids": ["m1"], "everything": True},
    {"everything": True, "text": "x"},
    {"everything": False},
]


@pytest.mark.parametrize("given", EMPTY)
@pytest.mark.parametrize("path", ["/api/dead/drop", "/api/dead/retry", "/api/outgoing/drop", "/api/outgoing/retry"])
async def test_nothing_is_changed_by_an_empty_filter(site: Any, path: str, given: dict[str, Any]) -> None:
    async with site() as here:
        await bury(here.store, message("m1"))
        answer = await here.post(path, given)
        assert answer.status_code == 400
        assert "write ids, or one filter or more" in answer.json()["error"]
        assert len(await here.store.dead()) == 1


async def test_all_that_match_are_changed_and_progress_is_told(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "BATCH", 100)
    async with site() as here:
        await bury(here.store, *(message(f"m{n:03}", subject=f"email a -> {n % 2}") for n in range(300)))
        dry = event_data((await here.post("/api/dead/drop", {"recipient": "1", "dry_run": True})).text)
        assert dry == [{"matching": 150, "more": False}]
        told = event_data((await here.post("/api/dead/drop", {"recipient": "1"})).text)
        assert told == [
            {"matching": 150, "more": False},
            {"done": 100, "changed": 100},
            {"done": 150, "changed": 150},
            {"done": 150, "changed": 150, "finished": True},
        ]
        assert (await here.get("/api/dead?count=true")).json()["total"] == 150


async def test_a_change_goes_on_to_the_end_and_leaves_what_comes_later(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((selection, "PAGE"), (pages, "BATCH"), (entries, "COUNTING"), (pages, "COUNTED")):
        monkeypatch.setattr(module, name, 100)
    async with site() as here:
        await bury(here.store, *(message(f"m{n:03}") for n in range(1000)))
        async with here.client.stream("POST", "/api/dead/drop", json={"everything": True}) as answer:
            told: list[Any] = []
            async for line in answer.aiter_lines():
                told += event_data(line)
                if told[-1:] == [{"matching": 1000, "more": False}] and len(told) < 12:
                    await bury(here.store, message("n000"))  # it comes while the change is under way
        assert told[:10] == [{"matching": n, "more": True} for n in range(100, 1001, 100)]
        assert told[-1] == {"done": 1000, "changed": 1000, "finished": True}
        assert [each["id"] for each in (await here.get("/api/dead")).json()["entries"]] == ["n000"]


async def test_dead_letters_of_both_kinds_are_changed_to_the_end(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "PAGE", 10)
    async with site() as here:
        await bury(here.store, *(message(f"m{n:03}") for n in range(25)))
        await here.store.put_outgoing([outgoing(f"sent{n:02}", due=0) for n in range(25)])
        for item in await here.store.take_outgoing(25, now=here.store.now()):
            await here.store.dead_letter_outgoing(item.id, error="550 no")
        told = event_data((await here.post("/api/dead/drop", {"everything": True})).text)
        assert told[-1] == {"done": 50, "changed": 50, "finished": True}
        assert (await here.get("/api/dead")).json()["entries"] == []


async def test_a_slow_store_makes_short_pages_that_lose_nothing(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LOOKED", 0.0)
    monkeypatch.setattr(pages, "PAGE", 3)
    async with site() as here:
        await bury(here.store, *(message(f"m{n}", subject=f"email a -> {n % 2}") for n in range(10)))
        assert len((await here.get("/api/dead?recipient=1&limit=10")).json()["entries"]) == 1
        assert await all_pages(here, "recipient=1&limit=10") == [f"m{n}" for n in range(1, 10, 2)]


async def test_those_that_are_named_are_exported(site: Any) -> None:
    async with site() as here:
        await bury(here.store, *(message(f"m{n:03}") for n in range(30)))
        answer = await here.get("/dead/export?ids=m003&ids=m007")
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            assert [each.name for each in archive] == ["m003.eml", "m007.eml"]
        assert (await here.get("/api/dead/export?ids=none")).status_code == 404
        both = await here.get("/dead/export?ids=m003&error=order")
        assert (both.status_code, "write ids or filters, not both" in both.text) == (400, True)


async def test_all_that_match_are_exported_as_they_came(site: Any) -> None:
    async with site() as here:
        await bury(here.store, *(message(f"m{n:03}", subject=f"email a -> {n % 2}") for n in range(30)))
        files = event_data((await here.get("/api/dead/export?recipient=1")).text)
        assert [each["name"] for each in files] == [f"m{n:03}.eml" for n in range(1, 30, 2)]
        assert {base64.b64decode(each["base64"]) for each in files} == {MAIL}
        answer = await here.get("/dead/export?recipient=1")
        assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''dead.tar"
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            assert [each.name for each in archive] == [each["name"] for each in files]
            (file,) = filter(None, [archive.extractfile("m001.eml")])
            assert file.read() == MAIL


async def test_what_is_tried_again_reaches_its_handler(site: Any) -> None:
    async with site() as here:
        await bury(here.store, message("m1", route="everything -> console_page_handlers.Desk"))
        assert (await here.get("/api/dead")).json()["entries"][0]["attempts"] == 3
        await here.post("/api/dead/retry", {"ids": ["m1"]})

        async def dead_again() -> bool:
            found = (await here.get("/api/dead/m1")).json().get("item", {})
            return found.get("attempts") == 1 and "order" in found["error"]

        await until(dead_again)
        story = (await here.get("/api/messages/m1")).json()
        assert story["state"] == "dead"
        assert any("tried again" in step["what"] or "requeued" in step["what"] for step in story["history"]), story


async def test_a_message_is_shown_without_secrets_and_given_whole_as_a_file(site: Any) -> None:
    async with site() as here:
        await fill(here.store)
        shown = await here.get("/api/dead/old1")
        assert "hunter2" not in shown.text
        assert "KeyError: 'order'" in shown.json()["item"]["error"]
        file = (await here.get("/api/dead/old1/file")).json()
        assert (file["name"], base64.b64decode(file["base64"])) == ("old1.eml", MAIL)
        assert (await here.get("/api/dead/old")).status_code == 404, "the beginning of two"
        assert (await here.get("/api/dead/none")).status_code == 404
        assert (await here.get("/api/outgoing/sent1")).json()["item"]["recipient"] == "b@example.net"


async def test_without_a_store_a_sentence_says_so(site: Any) -> None:
    async with site() as here:
        gateway = here.running.gateway
        object.__setattr__(gateway, "dispatcher", None)
        answer = await here.get("/api/dead")
        assert (answer.status_code, answer.json()) == (400, {"error": "this gateway has no store"})


async def test_a_batch_of_messages_alone_is_one_call_of_the_store() -> None:
    """Each call is a commit, and a hundred thousand dead letters are a thousand batches."""
    calls: list[str] = []

    def call(name: str, found: int) -> Any:
        async def run(ids: Any, **options: Any) -> int:
            calls.append(name)
            return found

        return run

    store: Any = SimpleNamespace(dead=None, outgoing=call("", 0), get=None, get_outgoing=None, find=None)
    store.drop, store.requeue = call("drop", 2), call("requeue", 2)
    store.drop_outgoing, store.requeue_outgoing = call("drop_outgoing", 1), call("requeue_outgoing", 1)
    letters = dead_letters(store)
    assert (await letters.forget(["a", "b"]), await letters.requeue(["a", "b"])) == (2, 2)
    assert calls == ["drop", "requeue"]
    assert (await letters.forget(["a", "b", "c"]), await letters.requeue(["a", "b", "c"])) == (3, 3)
    assert calls[2:] == ["drop", "drop_outgoing", "requeue", "requeue_outgoing"]
