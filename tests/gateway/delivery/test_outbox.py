"""The outbox with real providers that are silent, slow, failing or full: nobody else waits for them."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from servers.provider import Provider, provider
from test_worker import LIMIT, until

from gateway.delivery import bell
from gateway.delivery.outbox import Outbox
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.policy import LONGEST_BACKOFF, Policy
from gateway.servers import make_outlets
from gateway.store import set_store
from gateway.store.engine import StoreUnavailable
from gateway.store.sqlite import SQLiteStore
from protocols import SMTPServer, SMTPSettings, SubmissionSettings, open_submission
from protocols.secret import Secret
from protocols.sms import SMSWebhook, TwilioSettings

TAKEN = (201, "{}")
HALF = Outbox.size // 2


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The application, which sends nothing itself."""


def texts(name: str, there: Provider) -> SMSWebhook:
    settings = TwilioSettings(on="web", path="/", auth_token=Secret("t"), account_sid="AC1", api_url=there.url)
    return SMSWebhook(nothing, settings, name=name)


@contextlib.asynccontextmanager
async def sending(store: SQLiteStore, *hooks: SMSWebhook) -> AsyncIterator[Outbox]:
    async with contextlib.AsyncExitStack() as stack:
        for hook in hooks:
            await stack.enter_async_context(hook)
        outbox = Outbox(store, make_outlets(hooks, None))
        outbox.backoff = Policy(backoff=0.01)
        outbox.start()
        try:
            yield outbox
        finally:
            await outbox.stop(0.0)


async def reply(store: SQLiteStore, event: str, listener: str, *texts: str) -> None:
    """What a handler of the text ``event`` has replied, committed with its "done"."""
    events = [{"type": "sms.send", "to": "+447400123456", "from": "+15005550006", "text": text} for text in texts]
    await store.claim(event, id=event, now=1.0, ttl=60.0)
    outgoing = outgoing_of(event, {"listener": listener, "provider": "twilio"}, events)
    await store.settle(event, result=b"", outgoing=outgoing)
    bell.outgoing.ring()


def bodies(there: Provider) -> list[str]:
    return [parse_qs(body.decode())["Body"][0] for _, _, body in there.posts]


async def left(store: SQLiteStore, number: int) -> None:
    async def look() -> bool:
        return (await store.counts()).outgoing == number

    await until(look)


async def waits(there: Provider, number: int) -> None:
    async def look() -> bool:
        return there.waiting == number

    await until(look)


async def test_a_silent_provider_has_half_of_the_places_and_nobody_waits_for_it(store: SQLiteStore) -> None:
    async with provider(TAKEN) as silent, provider(TAKEN) as there:
        silent.hangs = True
        async with sending(store, texts("silent", silent), texts("there", there)) as outbox:
            await reply(store, "s", "silent", *("anybody?" for _ in range(100)))
            await waits(silent, HALF)
            await reply(store, "t", "there", *(str(number) for number in range(50)))
            await left(store, 100)
            assert sorted(bodies(there), key=int) == [str(number) for number in range(50)]
            assert silent.waiting == len(silent.posts) == HALF
            assert outbox.active() == {"outgoing": HALF}


async def test_each_further_silent_one_leaves_room_for_the_next(store: SQLiteStore) -> None:
    entered: Counter[str] = Counter()

    async def silent(listener: str, event: Mapping[str, Any]) -> None:
        entered[listener] += 1
        await asyncio.Event().wait()

    outbox = Outbox(store, {"sms": silent})
    outbox.start()
    expected: dict[str, int] = {}
    for listener, places in {"a": HALF, "b": HALF // 2, "c": HALF // 4, "d": HALF // 8}.items():
        await reply(store, listener, listener, *("anybody?" for _ in range(50)))
        expected[listener] = places

        async def settled() -> bool:
            return entered == expected

        await until(settled)
    await outbox.stop(0.0)


async def test_a_place_is_free_as_soon_as_its_text_has_left(store: SQLiteStore) -> None:
    async with provider(TAKEN) as there, sending(store, texts("there", there)):
        there.hangs = True
        await reply(store, "slow", "there", "slow")
        await waits(there, 1)
        there.hangs = False
        await reply(store, "quick", "there", *(str(number) for number in range(3 * HALF)))
        await left(store, 1)
        assert there.waiting == 1


async def test_a_provider_that_asks_for_patience_gets_it_from_all_its_texts(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with provider((429, "{}")) as busy, provider(TAKEN) as there:
        busy.headers = {"retry-after": "1800"}
        async with sending(store, texts("busy", busy), texts("there", there)):
            await reply(store, "b", "busy", *("now?" for _ in range(100)))

            async def answered() -> bool:
                return bool(busy.posts) and len(refusals(caplog)) == len(busy.posts)

            await until(answered)
            await reply(store, "t", "there", *("now!" for _ in range(50)))
            await left(store, 100)
            assert 1 <= len(busy.posts) <= HALF
    assert all("next in 1800 s: the provider answered 429" in refusal for refusal in refusals(caplog))


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if "not sent" in record.message]


@pytest.mark.parametrize(("asked", "waited"), [("0", 0.01), ("999999", LONGEST_BACKOFF), ("1" * 400, LONGEST_BACKOFF)])
async def test_what_a_provider_asks_for_is_bounded(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture, asked: str, waited: float
) -> None:
    async with provider((503, "")) as busy:
        busy.headers = {"retry-after": asked}
        async with sending(store, texts("busy", busy)):
            await reply(store, "b", "busy", "now?")

            async def refused() -> bool:
                return bool(refusals(caplog))

            await until(refused)
    assert f"(attempt 1), next in {waited:g} s" in refusals(caplog)[0]


async def test_of_a_long_text_only_the_part_that_failed_is_sent_again(store: SQLiteStore) -> None:
    parts = ["a" * 1600, "b" * 1600, "c" * 800]
    async with provider(TAKEN, TAKEN, (500, ""), (503, ""), TAKEN) as there, sending(store, texts("there", there)):
        await reply(store, "e", "there", "".join(parts))
        await left(store, 0)
        assert bodies(there) == [*parts, parts[2], parts[2]]
    told = [step.what for step in await store.story("e")]
    assert [what for what in told if what.startswith("sent")] == ["sent e-0", "sent e-1", "sent e-2"]


async def test_no_part_leaves_before_the_one_before_it_not_even_after_a_restart(store: SQLiteStore) -> None:
    parts = ["a" * 1600, "b" * 1600]
    async with provider((503, ""), TAKEN) as there:
        async with sending(store, texts("there", there)) as outbox:
            outbox.backoff = Policy(backoff=LONGEST_BACKOFF)
            await reply(store, "e", "there", "".join(parts))

            async def stood_back() -> bool:
                return "failed: not sent e-0" in " ".join([step.what for step in await store.story("e")])

            await until(stood_back)
        async with sending(store, texts("there", there)):
            await reply(store, "short", "there", "short")
            await left(store, 2)
            assert bodies(there) == [parts[0], "short"]


async def test_nothing_follows_a_part_that_is_refused_for_good(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with provider((400, "{}")) as there, sending(store, texts("there", there)):
        await reply(store, "e", "there", "x" * 4000)

        async def refused() -> bool:
            return bool(refusals(caplog))

        await until(refused)
        assert len(there.posts) == 1
        assert (await store.counts()).outgoing == 3
    [record] = [record for record in caplog.records if "not sent" in record.message]
    assert record.levelno == logging.WARNING
    assert "e-0 not sent (attempt 1), next in 3600 s: the provider answered 400" in record.message


async def test_what_was_taken_and_not_noted_is_sent_again_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's yes is in, our commit is not, and the process ends: that part comes twice."""
    parts = ["a" * 1600, "b" * 1600, "c"]
    asked = asyncio.Event()

    async def full(id: str) -> None:  # noqa: A002
        if id == "e-0":
            return await noted(id)
        asked.set()
        raise StoreUnavailable("disk full")

    async with provider(TAKEN) as there:
        store = await opened(tmp_path)
        noted = store.sent
        monkeypatch.setattr(store, "sent", full)
        async with sending(store, texts("there", there)):
            await reply(store, "e", "there", "".join(parts))
            async with asyncio.timeout(LIMIT):
                await asked.wait()
        await store.close()
        again = await opened(tmp_path)
        async with sending(again, texts("there", there)):
            await left(again, 0)
        await again.close()
    set_store(None)
    assert bodies(there) == [parts[0], parts[1], parts[1], parts[2]]


async def opened(folder: Path) -> SQLiteStore:
    store = SQLiteStore(folder / "gateway.db")
    await store.open()
    return store


class Recipients:
    """A mail server's application, which knows these addresses only."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.taken: list[list[str]] = []

    def routable(self, scope: Any) -> bool:
        return self.known.issuperset(scope["rcpt_to"])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.taken.append(scope["rcpt_to"])


async def test_a_mail_that_one_recipient_is_refused_for_is_sent_again_to_that_one_alone(store: SQLiteStore) -> None:
    desk = Recipients("a@x.org", "c@x.org")
    mail = {"type": "email.send", "mail_from": "", "rcpt_to": ["a@x.org", "b@x.org", "c@x.org"], "message": b"A: 1\n\n"}
    async with SMTPServer(desk, SMTPSettings(bind="127.0.0.1:0")) as server:
        submission = open_submission(SubmissionSettings(f"smtp://{server.address}"))
        outbox = Outbox(store, make_outlets([], submission))
        outbox.backoff = Policy(backoff=0.01)
        await store.claim("e", id="e", now=1.0, ttl=60.0)
        await store.settle("e", result=b"", outgoing=outgoing_of("e", {"listener": "mail"}, [mail]))
        outbox.start()

        async def refused() -> bool:
            return any("refused b@x.org" in step.what for step in await store.story("e"))

        await until(refused)
        desk.known.add("b@x.org")
        await left(store, 0)
        await outbox.stop(LIMIT)
    assert desk.taken == [["a@x.org", "c@x.org"], ["b@x.org"]]


async def test_stopping_waits_for_what_is_under_way_and_begins_nothing(store: SQLiteStore) -> None:
    async with provider(TAKEN) as there, sending(store, texts("there", there)) as outbox:
        there.hangs = True
        await reply(store, "e", "there", *("x" for _ in range(2 * HALF)))
        await waits(there, HALF)
        stopping = asyncio.ensure_future(outbox.stop(LIMIT))
        await asyncio.sleep(0)
        there.resume()
        await stopping
        assert len(there.posts) == HALF
        assert (await store.counts()).outgoing == HALF
