"""A route with a policy, whose sender waits for the verdict: mail and texts."""

import asyncio
import gc
import logging
import threading
from typing import Any

import pytest
from conversation import Conversation, scope
from waiting import until

from gateway import AsyncEmailConsumer, AsyncSMSConsumer, EmailConsumer, EmailToRouter, Policy, regex
from gateway.delivery.guard import Guard, guarded
from gateway.delivery.incoming import Incoming
from gateway.delivery.running_attempts import RunningAttempt
from gateway.delivery.service import deliveries
from gateway.store import StoreUnavailable
from gateway.store.sqlite import SQLiteStore

MAIL = [{"type": "email.receive", "body": b"Subject: hi\r\n\r\nhello", "more_body": False}]
LIMIT = 5.0
TEXT = [{"type": "sms.receive", "text": "hi", "media": []}]


def email(**keys: Any) -> dict[str, Any]:
    """One that its sender may repeat."""
    headers = [(b"message-id", b"<1@x>"), (b"date", b"Thu, 1 Jan 1970 00:00:01 +0000"), (b"subject", b"hi")]
    own = {"listener": "mail", "mailbox": None, "headers": headers, "received_at": 1.0}
    return scope("email", **(own | keys))


def sms(**keys: Any) -> dict[str, Any]:
    return scope("sms", **({"listener": "texts", "message_id": "m1", "provider": "generic"} | keys))


async def deliver(app: Any, scope: dict[str, Any], events: list[Any]) -> list[dict[str, Any]]:
    async with Conversation(app, scope) as server:
        server.say(*events)
        await server.end()
        return server.heard()


async def settled() -> None:
    """Until nothing is at work any more."""
    await until(lambda: not len(deliveries.get().attempts))


class Fails(EmailConsumer):
    runs = 0

    def receive(self, message: Any) -> None:
        type(self).runs += 1
        raise KeyError("order")


class Works(AsyncEmailConsumer):
    runs = 0
    seen: list[Any] = []

    async def receive(self, message: Any) -> None:
        type(self).runs += 1
        type(self).seen.append(self.scope["extensions"]["delivery"])
        await self.send_message(b"Subject: answer\r\n\r\n", ["c@example.com"])
        await self.accept()


class Quiet(EmailConsumer):
    def receive(self, message: Any) -> None:
        """On a thread."""


@pytest.fixture(autouse=True)
def _counters() -> None:
    Fails.runs = Works.runs = 0
    Works.seen.clear()


def test_no_policy_is_no_guard() -> None:
    app = Works.as_asgi()
    assert guarded(app, Policy(), "label") is app


async def test_a_message_that_is_sent_again_runs_once_and_gets_the_same_answer(store: SQLiteStore) -> None:
    app = Guard(Works.as_asgi(), Policy(attempts=3), "label")
    for _ in range(3):
        assert await deliver(app, email(), MAIL) == [{"type": "email.accept"}]
    assert Works.runs == 1
    assert Works.seen[0]["attempt"] == 1
    assert (await store.counts()).outgoing == 1


@pytest.mark.parametrize(
    ("handler", "answer"), [(Works, "email.accept"), (Quiet, "email.accept"), (Fails, "email.defer")]
)
async def test_a_message_that_is_answered_does_not_wait_for_the_garbage_collector(
    store: SQLiteStore, handler: Any, answer: str
) -> None:
    app = Guard(handler.as_asgi(), Policy(attempts=3), "label")
    gc.collect()
    gc.disable()
    logging.disable()  # pytest keeps the records, and an error in each
    try:
        assert [each["type"] for each in await deliver(app, email(), MAIL)] == [answer]
        await until(lambda: not any(issubclass(type(each), Incoming | RunningAttempt) for each in gc.get_objects()))
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


async def test_what_fails_is_tried_as_often_as_said_then_it_is_a_dead_letter(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    app = Guard(Fails.as_asgi(), Policy(attempts=3), "x -> Fails")
    answers = [(await deliver(app, email(), MAIL))[0]["type"] for _ in range(4)]
    assert answers == ["email.defer", "email.defer", "email.accept", "email.accept"]
    assert Fails.runs == 3
    [dead] = await store.dead()
    assert (dead.attempts, dead.route, dead.type) == (3, "x -> Fails", "email")
    assert "order" in dead.error
    notes = [record.__dict__["note"] for record in caplog.records]
    assert notes[0] == "attempt 1 of 3, next when its sender repeats it"
    assert notes[2] == "attempt 3 of 3, now among the dead letters"


async def test_a_retry_keeps_its_event_id(store: SQLiteStore) -> None:
    seen: list[Any] = []

    class Once(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            seen.append(self.scope["extensions"]["delivery"])
            if len(seen) == 1:
                raise RuntimeError("not yet")

    app = Guard(Once.as_asgi(), Policy(attempts=3), "label")
    for _ in range(2):
        await deliver(app, email(), MAIL)
    assert seen[0]["id"] == seen[1]["id"]
    assert [each["attempt"] for each in seen] == [1, 2]
    assert seen[0]["first_received"] == seen[1]["first_received"]


@pytest.mark.parametrize(
    ("on_error", "answer", "dead"), [("refuse", "email.reject", 0), ("dead-letter", "email.accept", 1)]
)
async def test_what_the_route_says_about_errors(store: SQLiteStore, on_error: Any, answer: str, dead: int) -> None:
    app = Guard(Fails.as_asgi(), Policy(on_error=on_error), "label")
    for _ in range(2):
        assert (await deliver(app, email(), MAIL))[0]["type"] == answer
    assert Fails.runs == 1
    assert (await store.counts()).dead == dead


async def test_a_handler_that_takes_too_long_has_failed(store: SQLiteStore) -> None:
    class Slow(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            await asyncio.sleep(100)

    app = Guard(Slow.as_asgi(), Policy(attempts=1, timeout=0.01), "label")
    assert await deliver(app, email(), MAIL) == [{"type": "email.accept", "failed": True}]
    [dead] = await store.dead()
    assert "Timeout" in dead.error


async def test_replies_are_kept_for_the_repetition(store: SQLiteStore) -> None:
    runs: list[int] = []

    class Texts(AsyncSMSConsumer):
        async def receive(self, text: str, media: Any) -> None:
            runs.append(1)
            await self.reply(f"answer {len(runs)}")

    app = Guard(Texts.as_asgi(), Policy(attempts=2), "label")
    first, second = [await deliver(app, sms(), TEXT) for _ in range(2)]
    assert first == second
    assert first[0]["text"] == "answer 1"
    assert (await deliver(app, sms(message_id="m2"), TEXT))[0]["text"] == "answer 2"


async def test_a_delivery_that_is_cut_off_may_be_tried_again_and_counts(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    started = asyncio.Event()

    class Hangs(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            started.set()
            await asyncio.sleep(100)

    app = Guard(Hangs.as_asgi(), Policy(attempts=2), "label")
    for _ in range(2):
        started.clear()
        async with Conversation(app, email()) as server:
            server.say(*MAIL)
            await started.wait()
        assert server.heard() == [{"type": "email.defer"}]
        await settled()
    dead = await store.dead()
    assert (dead[0].attempts, "its sender could wait no longer" in dead[0].error) == (2, True)
    notes = [record.__dict__["note"] for record in caplog.records if record.levelname == "ERROR"]
    assert notes == ["attempt 1 of 2, next when its sender repeats it", "attempt 2 of 2, now among the dead letters"]
    assert await deliver(app, email(), MAIL) == [{"type": "email.accept", "failed": True}]


async def test_while_one_delivery_runs_its_repetitions_wait_for_it_and_get_its_answer(store: SQLiteStore) -> None:
    runs: list[int] = []
    started, release = asyncio.Event(), asyncio.Event()

    class Waits(AsyncSMSConsumer):
        async def receive(self, text: str, media: Any) -> None:
            runs.append(1)
            started.set()
            await release.wait()
            await self.reply(f"answer {len(runs)}")

    app = Guard(Waits.as_asgi(), Policy(attempts=2), "label")
    calls = [asyncio.ensure_future(deliver(app, sms(), TEXT)) for _ in range(20)]
    await started.wait()
    calls += [asyncio.ensure_future(deliver(app, sms(), TEXT)) for _ in range(20)]
    await asyncio.sleep(0.05)
    release.set()
    answers = await asyncio.gather(*calls)
    assert [answer[0].get("text") for answer in answers] == ["answer 1"] * 40
    assert len(runs) == 1


async def test_a_repetition_that_leaves_does_not_end_what_the_first_still_waits_for(store: SQLiteStore) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    class Waits(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            started.set()
            await release.wait()

    app = Guard(Waits.as_asgi(), Policy(attempts=2), "label")
    async with Conversation(app, email()) as server:
        server.say(*MAIL)
        await started.wait()
        async with Conversation(app, email()) as second:
            second.say(*MAIL)
            await asyncio.sleep(0.02)
        assert second.heard() == [{"type": "email.defer"}]
        release.set()
        await server.end()
        assert server.heard() == [{"type": "email.accept"}]


async def test_the_first_may_leave_and_the_repetition_gets_the_answer(store: SQLiteStore) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    class Waits(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            started.set()
            await release.wait()

    app = Guard(Waits.as_asgi(), Policy(attempts=2), "label")
    async with Conversation(app, email()) as first:
        first.say(*MAIL)
        await started.wait()
        second = asyncio.ensure_future(deliver(app, email(), MAIL))
        await asyncio.sleep(0.02)
    release.set()
    assert await second == [{"type": "email.accept"}]
    assert (await store.counts()).dead == 0


async def test_without_a_store_nothing_is_acknowledged(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(store, "claim", full)
    app = Guard(Works.as_asgi(), Policy(attempts=2), "label")
    assert await deliver(app, email(), MAIL) == [{"type": "email.defer"}]
    assert Works.runs == 0


async def test_what_a_handler_has_done_is_kept_as_soon_as_the_store_works(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender is not kept waiting, and the handler does not run again for its repetition."""
    full = [True]
    settle = store.settle

    async def settle_when_there_is_room(*args: Any, **kwargs: Any) -> None:
        if full:
            raise StoreUnavailable("disk full")
        await settle(*args, **kwargs)

    monkeypatch.setattr("gateway.delivery.retry_until_stored.PAUSE", 0.01)
    monkeypatch.setattr(store, "settle", settle_when_there_is_room)
    app = Guard(Works.as_asgi(), Policy(attempts=2), "label")
    assert await deliver(app, email(), MAIL) == [{"type": "email.defer"}]
    again = asyncio.ensure_future(deliver(app, email(), MAIL))
    await asyncio.sleep(0.05)
    assert not again.done()
    full.clear()
    assert await again == [{"type": "email.accept"}]
    assert Works.runs == 1


async def test_a_message_that_the_inbox_cannot_take_is_not_claimed(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*args: Any, **kwargs: Any) -> None:
        raise StoreUnavailable("disk full")

    app = Guard(Works.as_asgi(), Policy(inbox=True), "label")
    with monkeypatch.context() as broken:
        broken.setattr(store, "put_once", full)
        assert await deliver(app, email(), MAIL) == [{"type": "email.defer"}]
    assert await deliver(app, email(), MAIL) == [{"type": "email.accept"}]
    assert (await store.counts()).waiting == 1


async def test_groups_that_have_accepted_do_not_run_again_when_another_failed(store: SQLiteStore) -> None:
    router = EmailToRouter(
        [regex("^a@", Works, policy=Policy(attempts=5)), regex("^b@", Fails, policy=Policy(attempts=5))]
    )
    for _ in range(2):
        heard = await deliver(router, email(rcpt_to=["a@x.org", "b@x.org"]), MAIL)
        assert heard[-1]["type"] == "email.defer"
    assert (Works.runs, Fails.runs) == (1, 2)


async def test_a_message_that_the_store_gives_away_before_its_first_attempt_hears_that_it_is_free(
    store: SQLiteStore,
) -> None:
    """Releases and claims of one commit: the release comes first there, and its caller may hear of it last."""
    ready, runs = asyncio.Event(), 0

    class Once(AsyncEmailConsumer):
        async def receive(self, message: Any) -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                await ready.wait()
                raise RuntimeError("not yet")

    def hold(database: Any, calls: list[threading.Event]) -> list[None]:
        return [None for call in calls if call.wait(LIMIT)]

    app = Guard(Once.as_asgi(), Policy(attempts=3), "label")
    first = asyncio.create_task(deliver(app, email(headers=[]), MAIL))
    await until(lambda: runs == 1)
    held = threading.Event()
    holding = asyncio.create_task(store._run(hold, held))
    await asyncio.sleep(0.02)
    other = asyncio.create_task(store.release("another", error="E"))
    await asyncio.sleep(0)
    second = asyncio.create_task(deliver(app, email(headers=[]), MAIL))
    await asyncio.sleep(0.02)
    ready.set()
    await asyncio.sleep(0.02)
    held.set()
    assert (await first)[0]["type"] == "email.defer"
    assert (await second)[0]["type"] == "email.accept"
    await asyncio.gather(holding, other)
    await settled()
    assert runs == 2
