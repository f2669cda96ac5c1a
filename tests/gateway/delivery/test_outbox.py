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
from own_services import delivering
from servers.provider import Provider, provider
from servers.submission import Peer, peer
from test_worker import LIMIT
from waiting import until

from gateway.delivery.accounts import CERTAIN
from gateway.delivery.keep import Keep
from gateway.delivery.outbox import Outbox
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.policy import LONGEST_BACKOFF, Policy
from gateway.delivery.service import deliveries
from gateway.runtime.servers import make_outlets
from gateway.scopes.server_kind import Given
from gateway.store import Outgoing, StoreUnavailable, codec
from gateway.store.sqlite import SQLiteStore
from protocols import SubmissionSettings, open_submission
from protocols.secret import Secret
from protocols.sms import SMSWebhook, TwilioSettings

TAKEN = (201, "{}")
HALF = Outbox.size // 2


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is looked for sooner than once a second."""
    monkeypatch.setattr("gateway.delivery.poller.LOOK_AGAIN", 0.05)


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
        outbox = Outbox(stack.enter_context(delivering(store)), make_outlets(hooks, Given(store=store)))
        outbox.backoff = Policy(backoff=0.01)
        outbox.start()
        try:
            yield outbox
        finally:
            await outbox.stop(0.0)


async def reply(store: SQLiteStore, event: str, listener: str, *texts: str) -> None:
    """What a handler of the text ``event`` has replied, committed with its "done"."""
    events = [{"type": "sms.send", "to": "+447400123456", "from": "+15005550006", "text": text} for text in texts]
    claim = await store.claim(event, id=event, now=1.0, ttl=60.0)
    outgoing = outgoing_of(event, {"listener": listener, "provider": "twilio"}, events, store.now())
    await store.settle(claim, result=b"", outgoing=outgoing)
    deliveries.get().outgoing.notify()


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
            # The place of one that has left is free a turn after the store says so.
            await until(lambda: outbox.active() == {"outgoing": HALF})


async def test_each_further_silent_one_leaves_room_for_the_next(store: SQLiteStore) -> None:
    entered: Counter[str] = Counter()

    async def silent(listener: str, event: Mapping[str, Any]) -> None:
        entered[listener] += 1
        await asyncio.Event().wait()

    outbox = Outbox(deliveries.get(), {"sms": silent})
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
    parts = ["a" * 1530, "b" * 1530, "c" * 800]
    async with provider(TAKEN, TAKEN, (500, ""), (503, ""), TAKEN) as there, sending(store, texts("there", there)):
        await reply(store, "e", "there", "".join(parts))
        await left(store, 0)
        assert bodies(there) == [*parts, parts[2], parts[2]]
    told = [step.what for step in await store.history("e")]
    assert [what for what in told if what.startswith("sent")] == ["sent e-0", "sent e-1", "sent e-2"]


async def test_no_part_leaves_before_the_one_before_it_not_even_after_a_restart(store: SQLiteStore) -> None:
    parts = ["a" * 1530, "b" * 1530]
    async with provider((503, ""), TAKEN) as there:
        async with sending(store, texts("there", there)) as outbox:
            outbox.backoff = Policy(backoff=LONGEST_BACKOFF)
            await reply(store, "e", "there", "".join(parts))

            async def stood_back() -> bool:
                return "failed: not sent e-0" in " ".join([step.what for step in await store.history("e")])

            await until(stood_back)
        async with sending(store, texts("there", there)):
            await reply(store, "short", "there", "short")
            await left(store, 2)
            assert bodies(there) == [parts[0], "short"]


async def test_with_a_part_that_is_refused_for_good_the_rest_dies_and_all_come_back_together(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with provider((400, "{}"), TAKEN) as there, sending(store, texts("there", there)):
        await reply(store, "e", "there", "x" * 4000)
        await left(store, 0)
        assert len(there.posts) == 1
        dead = await store.outgoing()
        assert [(item.id, item.state, item.error) for item in dead] == [
            ("e-0", "dead", "the provider answered 400"),
            ("e-1", "dead", "the part before it was not sent (e-0): the provider answered 400"),
            ("e-2", "dead", "the part before it was not sent (e-0): the provider answered 400"),
        ]
        assert (await store.counts()).dead_outgoing == 3
        assert await store.requeue_outgoing(["e-1"]) == 3
        deliveries.get().outgoing.notify()
        await left(store, 0)
        assert [len(body) for body in bodies(there)] == [1530, 1530, 1530, 940]
    assert await store.outgoing() == []
    [record] = [record for record in caplog.records if "not sent" in record.message]
    assert record.levelno == logging.ERROR
    assert record.message == "e-0: sms to +447400123456 not sent, now dead: the provider answered 400"


async def test_what_was_taken_and_not_noted_is_sent_again_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's yes is in, our commit is not, and the process ends: that part comes twice."""
    parts = ["a" * 1530, "b" * 1530, "c" * 100]
    asked = asyncio.Event()

    async def full(id: str) -> None:
        if id == "e-0":
            return await noted(id)
        asked.set()
        raise StoreUnavailable("disk full")

    async with provider(TAKEN) as there:
        store = await opened(tmp_path)
        noted = store.finish_outgoing
        monkeypatch.setattr(store, "finish_outgoing", full)
        async with sending(store, texts("there", there)):
            await reply(store, "e", "there", "".join(parts))
            async with asyncio.timeout(LIMIT):
                await asked.wait()
        await store.close()
        again = await opened(tmp_path)
        async with sending(again, texts("there", there)):
            await left(again, 0)
        await again.close()
    assert bodies(there) == [parts[0], parts[1], parts[1], parts[2]]


async def opened(folder: Path) -> SQLiteStore:
    store = SQLiteStore(folder / "gateway.db")
    await store.open()
    return store


MAIL = {"type": "email.send", "mail_from": "", "rcpt_to": ["b@x.org"], "message": b"From: g@x.org\n\nhello\n"}


@contextlib.asynccontextmanager
async def mailing(store: SQLiteStore, there: Peer, *, keep: Keep | None = None) -> AsyncIterator[Outbox]:
    submission = open_submission(SubmissionSettings(f"smtp://{there.address}", timeout=LIMIT))
    with delivering(store, keep) as here:
        outbox = Outbox(here, make_outlets([], Given(submission)))
        outbox.backoff = Policy(backoff=0.01)
        outbox.start()
        try:
            yield outbox
        finally:
            await outbox.stop(LIMIT)


async def mails(store: SQLiteStore, event: str, *recipients: str, number: int = 1) -> None:
    claim = await store.claim(event, id=event, now=1.0, ttl=60.0)
    items = outgoing_of(event, {"listener": "mail"}, [MAIL | {"rcpt_to": list(recipients)}] * number, store.now())
    await store.settle(claim, result=b"", outgoing=items)
    deliveries.get().outgoing.notify()


async def unsent(store: SQLiteStore) -> list[tuple[str, str, str, str]]:
    return [(item.id, item.state, item.recipient, item.error) for item in await store.outgoing()]


async def test_of_three_recipients_one_is_dead_one_has_it_and_one_is_tried_again_alone(store: SQLiteStore) -> None:
    """The last one's mail is the same mail: it has the same Message-ID."""
    answers = {"b@x.org": "550 5.1.1 no such user", "c@x.org": "450 4.2.0 later"}
    async with peer(answers) as there, mailing(store, there):
        await mails(store, "e", "a@x.org", "b@x.org", "c@x.org")

        async def tried_again() -> bool:
            return there.tried >= 3

        await until(tried_again)
        del there.answers["c@x.org"]
        await left(store, 0)
        assert await unsent(store) == [
            ("e-0.1", "dead", "b@x.org", "127.0.0.1 refused b@x.org: 550 5.1.1 no such user")
        ]
        del there.answers["b@x.org"]
        assert await store.requeue_outgoing(["e-0.1"]) == 1
        await left(store, 0)
    assert [recipients for recipients, _ in there.taken] == [["a@x.org"], ["c@x.org"], ["b@x.org"]]
    assert len({content for _, content in there.taken}) == 1
    assert there.taken[0][1].startswith(b"Message-ID: <e-0@x.org>\r\nFrom: g@x.org\r\n")
    assert await store.outgoing() == []


async def test_the_part_that_is_dead_is_an_error_record_and_counted(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    answers = {"b@x.org": "550 5.1.1 no such user", "c@x.org": "450 4.2.0 later"}
    async with peer(answers) as there, mailing(store, there):
        await mails(store, "e", "a@x.org", "b@x.org", "c@x.org")

        async def tried_again() -> bool:
            return there.tried >= 2

        await until(tried_again)
        assert deliveries.get().counters.by_kind()["email"]["dead"] == 1
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == [
        "e-0: email to b@x.org not sent, now dead: 127.0.0.1 refused b@x.org: 550 5.1.1 no such user"
    ]


async def test_all_but_one_have_it_and_that_one_is_refused_for_good(store: SQLiteStore) -> None:
    async with peer({"b@x.org": "550 5.1.1 no such user"}) as there, mailing(store, there):
        await mails(store, "e", "a@x.org", "b@x.org")
        await left(store, 0)
        assert await unsent(store) == [("e-0", "dead", "b@x.org", "127.0.0.1 refused b@x.org: 550 5.1.1 no such user")]
        assert there.tried == 1


@pytest.mark.parametrize(("stage", "answer"), [("content", "554 5.7.1 spam"), ("MAIL", "552 5.3.4 too big")])
async def test_a_mail_that_is_refused_for_good_is_tried_once(store: SQLiteStore, stage: str, answer: str) -> None:
    async with peer({stage: answer}) as there, mailing(store, there):
        await mails(store, "e", "b@x.org")
        await left(store, 0)
        assert await unsent(store) == [("e-0", "dead", "b@x.org", f"127.0.0.1: {answer}")]
        assert there.tried == 1
        assert deliveries.get().counters.total["email", "dead"] == 1
    told = [step.what for step in await store.history("e")]
    assert told[-1] == f"failed: not sent, dead: e-0: 127.0.0.1: {answer}"


async def test_what_is_no_mail_at_all_is_tried_once(store: SQLiteStore) -> None:
    """An earlier release kept what no server could ever take, and tried it for ever."""
    item = Outgoing("e-0", "e", "email", codec.encode({"listener": "mail"}, [MAIL | {"rcpt_to": ["no address"]}]))
    async with peer() as there, mailing(store, there):
        await store.finish("e", outgoing=[item])
        deliveries.get().outgoing.notify()
        await left(store, 0)
        [(_, state, _, error)] = await unsent(store)
        assert (state, error.partition(":")[0], there.tried) == ("dead", "email.send", 0)


async def test_what_fails_for_now_is_tried_as_long_as_it_is_kept(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with peer({"RCPT": "450 4.2.0 later"}) as there, mailing(store, there, keep=Keep({"email": 0.2})):
        await mails(store, "e", "b@x.org")
        await left(store, 0)
        said = "given up after 0.2 s (outgoing.keep): 127.0.0.1 refused b@x.org: 450 4.2.0 later"
        assert await unsent(store) == [("e-0", "dead", "b@x.org", said)]
        assert there.tried > 1
        there.answers.clear()
        assert await store.requeue_outgoing(["e-0"]) == 1  # a new life
        await left(store, 0)
        assert await store.outgoing() == []


async def test_what_is_old_and_was_hardly_tried_is_not_given_up_yet(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The gateway was off for a week, or its clock has jumped; and the first answer of many is "greylisted"."""
    async with peer({"RCPT": "450 4.2.0 greylisted"}) as there, mailing(store, there) as outbox:
        outbox.backoff = Policy(backoff=0.2)
        event = MAIL | {"id": "e-0"}
        [old] = outgoing_of("e", {"listener": "mail"}, [event], 1.0)
        await store.finish("e", outgoing=[old])
        deliveries.get().outgoing.notify()

        async def tried() -> bool:
            return bool(refusals(caplog))

        await until(tried)
        assert [item.state for item in await store.outgoing()] == ["waiting"]
        there.answers.clear()
        await left(store, 0)
        assert await store.outgoing() == []


async def test_a_login_that_is_refused_rests_the_lane_with_one_warning_until_it_is_repaired(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old they are, nothing dies of it; and nobody else waits."""
    monkeypatch.setattr("gateway.delivery.outbox.ACCOUNT_PAUSE", 0.05)
    caplog.set_level(logging.INFO, "gateway.delivery.outbox")
    async with peer({"MAIL": "530 5.7.0 authentication required"}) as there, provider(TAKEN) as texting:
        submission = open_submission(SubmissionSettings(f"smtp://{there.address}", timeout=LIMIT))
        hook = texts("there", texting)
        async with hook:
            with delivering(store, Keep(everything=0.001)) as here:
                outbox = Outbox(here, make_outlets([hook], Given(submission)))
                outbox.start()
                await mails(store, "e", "b@x.org", number=40)

                async def asked_again() -> bool:
                    return there.tried >= HALF + 3

                await until(asked_again)
                await reply(store, "t", "there", "hello")
                await left(store, 40)
                states = {item.state for item in await store.outgoing()}
                assert states <= {"resting", "leaving"}
                there.answers.clear()
                await left(store, 0)
                await outbox.stop(LIMIT)
    assert len(there.taken) == 40
    assert await store.outgoing() == []
    assert bodies(texting) == ["hello"]
    lines = [record.message for record in caplog.records if record.name == "gateway.delivery.outbox"]
    assert lines == [
        "email rests: nothing leaves by it until you repair this (one item tries again every 0.05 s): "
        "127.0.0.1: 530 5.7.0 authentication required",
        "email: its items leave again",
    ]


async def test_an_account_that_works_is_not_refused_because_one_item_is(store: SQLiteStore) -> None:
    async with peer({"b@x.org": "530 5.7.0 not for you"}) as there, mailing(store, there) as outbox:
        outbox.backoff = Policy(backoff=60.0)
        await mails(store, "e", "c@x.org")
        await left(store, 0)
        for number in range(5):
            await mails(store, f"b{number}", "b@x.org")
            await mails(store, f"c{number}", "c@x.org")
            await left(store, number + 1)
        assert {item.state for item in await store.outgoing()} == {"waiting"}
        assert len(there.taken) == 6


async def test_an_account_that_worked_and_is_refused_rests_after_some_refusals(store: SQLiteStore) -> None:
    async with peer() as there, mailing(store, there):
        await mails(store, "e", "c@x.org")
        await left(store, 0)
        there.answers["MAIL"] = "535 5.7.8 no"
        await mails(store, "f", "c@x.org")

        async def rests() -> bool:
            return [item.state for item in await store.outgoing()] == ["resting"]

        await until(rests)
        assert there.tried == 1 + CERTAIN


async def test_what_rests_is_asked_for_by_one_item_and_at_once_if_an_operator_wants_it(store: SQLiteStore) -> None:
    async with peer({"greeting": "554 5.7.1 you are on a list"}) as there, mailing(store, there):
        await mails(store, "e", "b@x.org")

        async def rests() -> bool:
            return [item.state for item in await store.outgoing()] == ["resting"]

        await until(rests)
        await mails(store, "f", "b@x.org", number=9)
        await reply(store, "t", "gone", "no server of that name")

        async def both_rest() -> bool:
            return [item.state for item in await store.outgoing()] == ["resting"] * 10 + ["waiting"]

        await until(both_rest)
        assert there.tried == 1
        assert "554" in (await store.outgoing(message="f"))[0].error
        assert await store.requeue_outgoing(["f-3"]) == 1

        async def asked() -> bool:
            return there.tried == 2

        await until(asked)
        await until(both_rest)
        there.answers.clear()
        assert await store.requeue_outgoing(["f-3"]) == 1
        await left(store, 1)  # the text has no server
        assert there.tried == 2 + 10


async def test_an_item_that_is_refused_alone_does_not_stop_the_others_for_long(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider may say of one text what others say of an account."""
    monkeypatch.setattr("gateway.delivery.outbox.ACCOUNT_PAUSE", 0.05)
    async with peer({"b@x.org": "530 5.7.0 not for you"}) as there, mailing(store, there, keep=Keep({"email": 0.3})):
        await mails(store, "e", "b@x.org")
        sent = 0
        while (await store.counts()).outgoing:
            await mails(store, f"f{sent}", "c@x.org")
            sent += 1
            await asyncio.sleep(0.01)
        said = "given up after 0.3 s (outgoing.keep): 127.0.0.1 refused b@x.org: 530 5.7.0 not for you"
        assert await unsent(store) == [("e-0", "dead", "b@x.org", said)]
        assert len(there.taken) == sent


async def test_what_rests_is_asked_for_at_a_new_start(store: SQLiteStore) -> None:
    async with peer({"greeting": "554 5.7.1 no"}) as there:
        async with mailing(store, there):
            await mails(store, "e", "b@x.org")

            async def rests() -> bool:
                return [item.state for item in await store.outgoing()] == ["resting"]

            await until(rests)
            await mails(store, "f", "b@x.org")
        there.answers.clear()
        async with mailing(store, there):
            await left(store, 0)
    assert [len(there.taken), there.tried] == [2, 3]


async def test_a_new_token_in_the_file_is_tried_at_once(store: SQLiteStore, tmp_path: Path) -> None:
    """The account rests for five minutes otherwise."""
    token = tmp_path / "token"
    token.write_text("expired")
    ehlo = {"EHLO": "250-peer.example\r\n250 AUTH XOAUTH2"}
    async with peer({**ehlo, "AUTH": "535 5.7.8 expired"}) as there:
        settings = SubmissionSettings(f"smtp://{there.address}", username="me", token_file=str(token), timeout=LIMIT)
        submission = open_submission(settings)
        with delivering(store) as here:
            outbox = Outbox(here, make_outlets([], Given(submission)))
            outbox.start()
            await mails(store, "e", "b@x.org", number=3)

            async def rests() -> bool:
                return [item.state for item in await store.outgoing()] == ["resting"] * 3

            await until(rests)
            there.answers["AUTH"] = "235 2.7.0 ok"
            token.write_text("another one")
            await left(store, 0)
            await outbox.stop(LIMIT)
        await submission.close()
    assert len(there.taken) == 3


async def test_a_server_that_is_away_while_its_account_is_refused_is_not_asked_without_a_pause(
    store: SQLiteStore,
) -> None:
    async with peer({"MAIL": "530 5.7.0 authentication required"}) as there, mailing(store, there) as outbox:
        await mails(store, "e", "b@x.org", number=3)

        async def rests() -> bool:
            return [item.state for item in await store.outgoing()] == ["resting"] * 3

        await until(rests)
        outbox.backoff = Policy(backoff=60.0)
        there.answers = {"greeting": "421 4.3.2 busy", "MAIL": "421 4.3.2 busy"}
        assert await store.requeue_outgoing(["e-0", "e-1", "e-2"]) == 3

        async def each_was_tried() -> bool:
            return all("421" in item.error for item in await store.outgoing())

        await until(each_was_tried)
        tried = there.tried
        await asyncio.sleep(0.2)
        assert there.tried == tried
        assert [item.attempts for item in await store.outgoing()] == [1, 1, 1]


async def test_what_an_account_refused_for_long_is_not_old_when_that_is_repaired(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tries were the account's. Now the server takes it, after some patience."""
    monkeypatch.setattr("gateway.delivery.outbox.ACCOUNT_PAUSE", 0.01)
    async with (
        peer({"MAIL": "530 5.7.0 authentication required"}) as there,
        mailing(store, there, keep=Keep({"email": 1.0})),
    ):
        await mails(store, "e", "b@x.org")
        began = store.now()

        async def asked_often() -> bool:
            return there.tried >= 8 and store.now() > began + 1.0

        await until(asked_often)
        there.answers = {"RCPT": "450 4.2.0 greylisted"}

        async def tried() -> bool:
            return any("450" in item.error for item in await store.outgoing())

        await until(tried)
        there.answers.clear()
        await left(store, 0)
        assert await store.outgoing() == []


async def test_what_another_gateway_with_the_store_sends_does_not_rest(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Two gateways have two files, and one of them may have no submission server and no provider."""
    async with peer() as there, sending(store):
        await mails(store, "e", "b@x.org", number=40)

        async def left_alone() -> bool:
            return any(item.error for item in await store.outgoing())

        await until(left_alone)
        other = SQLiteStore(store.path)
        await other.open()
        async with mailing(other, there):
            await left(other, 0)
            await mails(store, "f", "b@x.org")
            await left(other, 0)
        await other.close()
    assert len(there.taken) == 41
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "e-0: nothing here sends email: it is kept for another gateway with this store that has it, or for "
        "this one's next start"
    ]


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
