"""Texts leave once each, by a provider that may fail in every way, by another one, at a rate, and not at night."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from aiohttp import web
from own_services import delivering
from servers.web import listening
from waiting import until

from gateway.console.kept.history import history_of
from gateway.delivery.direct import DirectSender
from gateway.delivery.outbox import Outbox
from gateway.delivery.outgoing import outgoing_of
from gateway.delivery.policy import Policy
from gateway.delivery.service import deliveries
from gateway.runtime.servers import make_outlets
from gateway.scopes.installed import KINDS
from gateway.scopes.outgoing import OutgoingServers
from gateway.scopes.server_kind import Given
from gateway.sending import messages
from gateway.store import Store
from gateway.store.sqlite import SQLiteStore
from protocols.errors import LocalProtocolError, NotSent
from protocols.secret import Secret
from protocols.sms import GenericSettings, ProviderSettings, SMSWebhook, TextMessage, TwilioSettings
from protocols.sms.media_files import LONGEST, read_file
from protocols.sms.sending import ProviderClient
from protocols.sms.sending_settings import SendingSettings

URL = "https://www.example.org/hooks/sms"
TO, OURS = "+447400123456", "+15005550006"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is looked for sooner than once a second, and a silent provider is given up sooner."""
    monkeypatch.setattr("gateway.delivery.poller.LOOK_AGAIN", 0.05)
    patient = ProviderClient.__init__
    monkeypatch.setattr(ProviderClient, "__init__", lambda self, provider: patient(self, provider, 0.3))


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: object) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "gateway.db")
    assert await store.open() == ""
    with delivering(store):
        yield store
    await store.close()


@dataclass
class RestSide:
    """A provider's REST interface: ``faults``, one after the other, then it takes what it gets."""

    taken: tuple[int, str]
    faults: list[str] = field(default_factory=list)
    posts: list[bytes] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.posts.append(await request.read())
        match (self.faults.pop(0) if self.faults else "takes it").split():
            case ["takes", "it"]:
                return web.Response(status=self.taken[0], text=self.taken[1].replace("N", str(len(self.posts))))
            case ["times", "out"]:
                await asyncio.sleep(5)
            case ["closes"]:
                assert request.transport is not None
                request.transport.close()
            case ["breaks", "off"]:
                response = web.StreamResponse(status=self.taken[0], headers={"content-length": "100"})
                await response.prepare(request)
                await response.write(b"{")
                assert request.transport is not None
                request.transport.close()
                return response
            case [status]:
                return web.Response(status=int(status), text="{}")
            case [status, seconds]:
                return web.Response(status=int(status), text="{}", headers={"retry-after": seconds})
        return web.Response(status=500)


@dataclass(frozen=True)
class Row:
    """What the table has to know about a provider. A further one is a row."""

    settings: Callable[..., ProviderSettings]
    taken: tuple[int, str]
    """The answer that takes a text; N is its number."""
    asks_for_receipts: bool = False


def twilio(url: str, **settings: Any) -> ProviderSettings:
    given = {"auth_token": Secret("t"), "account_sid": "AC1", "api_url": url, "number": OURS}
    return TwilioSettings(on="web", path="/hooks/sms", **given | settings)


def generic(url: str, **settings: Any) -> ProviderSettings:
    settings.pop("public_url", None)
    return GenericSettings(on="web", path="/hooks/sms", secret=Secret("k"), send_url=url, number=OURS, **settings)


ROWS = {
    "twilio": Row(twilio, (201, '{"sid": "SMN"}'), asks_for_receipts=True),
    "generic": Row(generic, (200, '{"id": "SMN"}')),
}

GOES_BY_ANOTHER, IS_TRIED_AGAIN, IS_DEAD = "goes by another", "is tried again", "is dead"
FAULTS = {
    "429": GOES_BY_ANOTHER,
    "429 7": GOES_BY_ANOTHER,
    "503": GOES_BY_ANOTHER,
    "503 7": GOES_BY_ANOTHER,
    "401": GOES_BY_ANOTHER,
    "302": GOES_BY_ANOTHER,
    "times out": IS_TRIED_AGAIN,
    "closes": IS_TRIED_AGAIN,
    "breaks off": IS_TRIED_AGAIN,
    "500": IS_TRIED_AGAIN,
    "502": IS_TRIED_AGAIN,
    "400": IS_DEAD,
    "422": IS_DEAD,
}
"""What a provider does -> what becomes of the text."""


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    await receive()


@contextlib.asynccontextmanager
async def rest(row: Row, *faults: str) -> AsyncIterator[RestSide]:
    side = RestSide(row.taken, list(faults))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", side.answer)
    async with listening(app) as side.url:
        yield side


def hook(name: str, settings: ProviderSettings, app: Any = nothing, store: Store | None = None) -> SMSWebhook:
    made = KINDS["sms"].servers[0].make(app, settings, name, {}, Given(store=store))
    assert isinstance(made, SMSWebhook)
    return made


@contextlib.asynccontextmanager
async def sending(store: SQLiteStore, *hooks: SMSWebhook) -> AsyncIterator[Outbox]:
    async with contextlib.AsyncExitStack() as stack:
        for each in hooks:
            await stack.enter_async_context(each)
        outbox = Outbox(deliveries.get(), make_outlets(hooks, Given(store=store)))
        outbox.backoff = Policy(backoff=0.01)
        outbox.start()
        try:
            yield outbox
        finally:
            await outbox.stop(0.0)


def event(text: str = "hello", sender: str = OURS, **more: Any) -> dict[str, Any]:
    return {"type": "sms.send", "to": TO, "from": sender, "text": text, "media": [], **more}


async def put(store: SQLiteStore, id_: str, *events: Mapping[str, Any], by: str = "first") -> None:
    """What code outside of handlers sends."""
    await store.put_outgoing(outgoing_of(id_, {"listener": by, "provider": "generic"}, events, store.now()))
    deliveries.get().outgoing.notify()


async def waits(store: SQLiteStore, number: int) -> None:
    async def look() -> bool:
        return (await store.counts()).outgoing == number

    await until(look)


def pair(row: Row, first: str, second: str, **sending: Any) -> tuple[ProviderSettings, ProviderSettings]:
    return row.settings(first, sending=SendingSettings(failover=("second",), **sending)), row.settings(second)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ROWS)
async def test_every_fault_of_every_provider(store: SQLiteStore, name: str, fault: str) -> None:
    row = ROWS[name]
    async with rest(row, fault) as one, rest(row) as two:
        first, second = pair(row, one.url, two.url)
        async with sending(store, hook("first", first), hook("second", second)):
            await put(store, "e", event())
            await waits(store, 0)
        posts = (len(one.posts), len(two.posts))
    dead = (await store.counts()).dead_outgoing
    found = {(1, 1): GOES_BY_ANOTHER, (2, 0): IS_TRIED_AGAIN, (1, 0): IS_DEAD}[posts]
    assert found == FAULTS[fault]
    assert dead == (found == IS_DEAD)


@pytest.mark.parametrize("name", ROWS)
async def test_what_goes_by_another_is_from_a_number_of_that_one(store: SQLiteStore, name: str) -> None:
    row = ROWS[name]
    async with rest(row) as two:
        first, second = pair(row, "http://127.0.0.1:1", two.url)  # nothing listens there
        async with sending(store, hook("first", first), hook("second", replace(second, number="Backup"))):
            await put(store, "e", event())
            await put(store, "f", event(sender="Shop"))
            await waits(store, 0)
    assert sorted(b"Backup" in body for body in two.posts) == [False, True]
    assert sorted(b"Shop" in body for body in two.posts) == [False, True]


async def test_while_a_provider_is_down_texts_go_straight_to_the_other(store: SQLiteStore) -> None:
    row = ROWS["twilio"]
    async with rest(row, "503 60") as one, rest(row) as two:
        first, second = pair(row, one.url, two.url)
        async with sending(store, hook("first", first), hook("second", second)):
            for id_ in ("a", "b", "c"):
                await put(store, id_, event())
                await waits(store, 0)
        assert (len(one.posts), len(two.posts)) == (1, 3)


async def test_where_both_are_down_a_text_goes_round_until_one_takes_it(store: SQLiteStore) -> None:
    row = ROWS["twilio"]
    async with rest(row, "503", "503") as one, rest(row, "503", "503", "503") as two:
        first, second = pair(row, one.url, two.url)
        async with sending(store, hook("first", first), hook("second", second)):
            await put(store, "e", event())
            await waits(store, 0)
        assert len(one.posts) + len(two.posts) >= 3
        assert (await store.counts()).dead_outgoing == 0


async def test_after_an_unknown_outcome_a_text_never_goes_by_another_one(store: SQLiteStore) -> None:
    """It may have been taken at first; that its provider is down now says nothing about that."""
    row = ROWS["twilio"]
    async with rest(row, "times out", "503", "503", "401", "503") as one, rest(row) as two:
        first, second = pair(row, one.url, two.url)
        async with sending(store, hook("first", first), hook("second", second)):
            await put(store, "e", event())
            await until(lambda: len(one.posts) >= 4)
        assert two.posts == []


async def test_after_a_killed_process_a_text_never_goes_by_another_one(store: SQLiteStore, tmp_path: Path) -> None:
    """It was being posted when the process died: nobody knows whether it was taken."""
    row = ROWS["twilio"]
    await put(store, "e", event())
    [taken] = await store.take_outgoing(1, now=store.now())
    assert taken.attempts == 1
    again = SQLiteStore(tmp_path / "gateway.db")
    await store.close()  # gives nothing back
    assert await again.open() == "1 that an earlier process had not finished are tried again"
    async with rest(row) as two:
        first, second = pair(row, "http://127.0.0.1:1", two.url)
        with delivering(again):
            async with sending(again, hook("first", first), hook("second", second)):

                async def is_tried() -> bool:
                    item = await again.get_outgoing("e-0")
                    return item is not None and item.attempts >= 3

                await until(is_tried)
                assert two.posts == []
    await again.close()
    await store.open()


async def test_a_refused_account_without_another_provider_keeps_its_texts(store: SQLiteStore) -> None:
    row = ROWS["twilio"]
    async with rest(row, "401") as one, sending(store, hook("first", row.settings(one.url))):
        await put(store, "e", event())
        await until(lambda: one.posts)

        async def rests() -> bool:
            [item] = await store.outgoing()
            return item.state == "resting"

        await until(rests)


# Receipts


@dataclass
class Statuses:
    """An application that keeps what became of texts."""

    events: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.events.append(await receive())


async def receive(there: SMSWebhook, url: str, sid: str, status: str, error: str = "") -> int:
    fields = {"MessageStatus": status, "SmsStatus": status} | ({"ErrorCode": error} if error else {})
    request = there.provider.sign(url, TextMessage(OURS, TO, sid, "", fields=fields))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(there), base_url="https://www.example.org") as client:
        target = urlsplit(url)
        answer = await client.post(f"{target.path}?{target.query}", content=request.body, headers=dict(request.headers))
    return answer.status_code


async def history(store: SQLiteStore, id_: str) -> list[str]:
    return [step.what for step in (await history_of(store, id_)).steps]


async def test_a_receipt_knows_its_text_and_gateway_show_tells_it(store: SQLiteStore) -> None:
    row, seen = ROWS["twilio"], Statuses()
    async with rest(row) as one:
        there = hook("first", row.settings(one.url, public_url=URL), seen, store)
        async with sending(store, there):
            await put(store, "7f3a9c2k4b00", event("x" * 161))
            await waits(store, 0)
            [callback] = parse_qs(one.posts[0].decode())["StatusCallback"]
            assert callback == f"{URL}?text=7f3a9c2k4b00-0"
            assert await receive(there, callback, "SM1", "undelivered", "30003") == 200
            assert await receive(there, URL, "SM1", "failed") == 200, "by a URL in the provider's console"
            assert await receive(there, URL, "SM9", "sent") == 200, "a text of another program"
            assert await receive(there, f"{URL}?text={'x' * 65}", "SM8", "sent") == 200, "an id that is none of ours"
    names = [(each["status"], each["event_id"], each["text_id"]) for each in seen.events]
    assert names == [
        ("undelivered", "7f3a9c2k4b00", "7f3a9c2k4b00-0"),
        ("failed", "7f3a9c2k4b00", "7f3a9c2k4b00-0"),
        ("sent", None, None),
        ("sent", None, None),
    ]
    assert await history(store, "7f3a") == [
        f"7f3a9c2k4b00-0: first took the text to {TO} as SM1, 2 segments",
        "sent 7f3a9c2k4b00-0",
        "7f3a9c2k4b00-0: receipt: undelivered, error 30003",
        "7f3a9c2k4b00-0: receipt: failed",
    ]


async def test_a_callback_whose_text_was_changed_is_refused(store: SQLiteStore) -> None:
    row = ROWS["twilio"]
    there = hook("first", row.settings("http://127.0.0.1:1", public_url=URL), nothing, store)
    request = there.provider.sign(f"{URL}?text=a-0", TextMessage(OURS, TO, "SM1", "", fields={"MessageStatus": "sent"}))
    async with there, httpx.AsyncClient(transport=httpx.ASGITransport(there), base_url="https://x.test") as client:
        for query, status in (("text=a-0", 200), ("text=b-0", 403), ("", 403)):
            answer = await client.post(f"/hooks/sms?{query}", content=request.body, headers=dict(request.headers))
            assert answer.status_code == status


async def test_the_event_that_caused_a_text_is_the_handlers(store: SQLiteStore) -> None:
    row = ROWS["generic"]
    async with rest(row) as one:
        there = hook("first", row.settings(one.url), nothing, store)
        async with sending(store, there):
            claim = await store.claim("key", id="cause", now=store.now(), ttl=60.0)
            items = outgoing_of("cause", {"listener": "first", "provider": "generic"}, [event()], store.now())
            await store.settle(claim, result=b"", outgoing=items)
            deliveries.get().outgoing.notify()
            await waits(store, 0)
    told = await history(store, "cause")
    assert told[-2:] == [f"cause-0: first took the text to {TO} as SM1, 1 segment", "sent cause-0"]


# When


async def test_texts_of_a_slow_number_wait_in_the_store_and_keep_nobody(store: SQLiteStore) -> None:
    row = ROWS["twilio"]
    async with rest(row) as one, rest(row) as two:
        slow = row.settings(one.url, sending=SendingSettings(sender_rate=0.01))
        async with sending(store, hook("first", slow), hook("second", row.settings(two.url))):
            await put(store, "slow", *(event(str(number)) for number in range(60)))
            await until(lambda: one.posts)
            await put(store, "other", event(sender="+15005550007"))
            await put(store, "quick", *(event(str(number)) for number in range(20)), by="second")
            await waits(store, 59)
            assert (len(one.posts), len(two.posts)) == (2, 20)
            waiting = [item for item in await store.outgoing() if item.message == "slow"]
            assert {item.attempts for item in waiting} <= {0, 1}


async def test_a_rate_is_kept_and_every_text_leaves_once(store: SQLiteStore) -> None:
    row = ROWS["twilio"]
    async with rest(row) as one:
        quick = row.settings(one.url, sending=SendingSettings(rate=40, sender_rate=40))
        async with sending(store, hook("first", quick)):
            began = asyncio.get_running_loop().time()
            await put(store, "e", *(event(str(number)) for number in range(60)))
            await waits(store, 0)
            seconds = asyncio.get_running_loop().time() - began
    assert len({parse_qs(body.decode())["Body"][0] for body in one.posts}) == len(one.posts) == 60
    assert seconds >= 19 / 40, "a second's worth leaves at once, the rest at the rate"


def now_quiet() -> SendingSettings:
    """Quiet from an hour ago until in an hour, by London's time."""
    now = datetime.now().astimezone()
    begin, end = (now + timedelta(hours=hours) for hours in (-1, 1))
    return SendingSettings(quiet_hours=f"{begin:%H:%M}-{end:%H:%M}")


async def test_in_quiet_hours_a_text_waits_and_an_answer_leaves(store: SQLiteStore) -> None:
    row = ROWS["twilio"]
    async with rest(row) as one:
        quiet = row.settings(one.url, sending=now_quiet())
        async with sending(store, hook("first", quiet)):
            await put(store, "news", event("buy", sender="Shop") | {"to": "68849"})
            scope = {"sender": "68849", "recipient": OURS}
            kind: Any = KINDS["sms"].delivery
            await put(store, "answer", kind.addressed({"type": "sms.send", "text": "yes", "media": []}, scope))
            await waits(store, 1)

            async def is_put_off() -> bool:
                [item] = await store.outgoing()
                return item.due > store.now() + 3000 and item.attempts == 0

            await until(is_put_off)
        assert [parse_qs(body.decode())["Body"] for body in one.posts] == [["yes"]]
    [item] = await store.outgoing()
    assert item.error.startswith("quiet hours (")


async def test_without_a_store_nothing_can_wait_for_the_morning_and_the_caller_is_told() -> None:
    row = ROWS["twilio"]
    async with rest(row) as one:
        there = hook("first", row.settings(one.url, sending=now_quiet()))
        async with there:
            sender = DirectSender(make_outlets([there]), servers(), None)
            sender.start()
            with pytest.raises(NotSent, match=r"quiet hours.*with a store"):
                await sender.asend(event() | {"to": "68849"})
        assert one.posts == []


async def test_without_a_store_a_text_goes_by_another_provider_too() -> None:
    row = ROWS["twilio"]
    async with rest(row, "503") as one, rest(row) as two:
        first, second = pair(row, one.url, two.url)
        one_hook, two_hook = hook("first", first), hook("second", second)
        async with one_hook, two_hook:
            sender = DirectSender(make_outlets([one_hook, two_hook]), servers(), None)
            sender.start()
            await sender.asend(event())
        assert (len(one.posts), len(two.posts)) == (1, 1)


def servers() -> OutgoingServers:
    return OutgoingServers({"sms": {"first": {"listener": "first", "provider": "twilio", "number": OURS}}}, {})


async def test_curly_quotes_become_plain_where_that_is_wanted(store: SQLiteStore) -> None:
    row = ROWS["twilio"]
    async with rest(row) as one:
        plain = row.settings(one.url, sending=SendingSettings(ascii_punctuation=True))
        async with sending(store, hook("first", plain)):
            await put(store, "e", event("It\u2019s \u201cready\u201d \u2013 come"))
            await waits(store, 0)
    assert parse_qs(one.posts[0].decode())["Body"] == ['It\'s "ready" - come']


# Files


async def fetch(there: SMSWebhook, url: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(there), base_url="https://www.example.org") as client:
        return await client.request(method, url)


async def test_a_file_is_fetched_from_the_webhooks_url_and_for_a_time_only(store: SQLiteStore, tmp_path: Path) -> None:
    (tmp_path / "chart.png").write_bytes(b"\x89PNG\r\n" + bytes(range(256)))
    row = ROWS["twilio"]
    async with rest(row) as one:
        there = hook("first", row.settings(one.url, public_url=URL), nothing, store)
        async with sending(store, there):
            await put(store, "e", event(media=[read_file(tmp_path / "chart.png"), "https://example.org/b.png"]))
            await waits(store, 0)
            url, other = parse_qs(one.posts[0].decode())["MediaUrl"]
            assert other == "https://example.org/b.png"
            assert url.startswith(f"{URL}?sent-file=")
            answer = await fetch(there, url)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
            assert answer.content == (tmp_path / "chart.png").read_bytes()
            assert (await fetch(there, url[:-1])).status_code == 404
            assert (await fetch(there, url[:-1] + "%ff")).status_code == 404
            assert (await fetch(there, url, "DELETE")).status_code == 405
            assert (await fetch(there, url.replace("sent-file=", "sent-file=" + "x" * 5000))).status_code == 403
            async with asyncio.timeout(5):
                await store.purge(now=store.now() + 3601)
            assert (await fetch(there, url)).status_code == 404


async def test_send_text_reads_the_file_when_it_is_called(store: SQLiteStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    scope = {"listener": "first", "provider": "twilio", "number": OURS, "max_media": 100, "has_url": True}
    row = ROWS["twilio"]
    async with rest(row) as one:
        there = hook("first", row.settings(one.url, public_url=URL), nothing, store)
        async with sending(store, there):
            sender = DirectSender({}, OutgoingServers({"sms": {"first": scope}}, {}), deliveries.get())
            sender.start()
            await messages.send_text(TO, "", media=[tmp_path / "a.txt"]).asend(sender)
            (tmp_path / "a.txt").unlink()
            await waits(store, 0)
            [url] = parse_qs(one.posts[0].decode())["MediaUrl"]
            assert (await fetch(there, url)).text == "hello"


async def test_a_provider_of_ones_own_gets_the_file_itself(store: SQLiteStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    row = ROWS["generic"]
    async with rest(row) as one, sending(store, hook("first", row.settings(one.url), nothing, store)):
        await put(store, "e", event(media=[read_file(tmp_path / "a.txt")]))
        await waits(store, 0)
    assert b'"data:text/plain;base64,aGVsbG8="' in one.posts[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"has_url": False, "max_media": 100}, "needs public_url at servers.first"),
        ({"has_url": True, "max_media": 3}, r"more than 3 bytes \(max_media at servers.first\)"),
    ],
)
async def test_a_file_that_cannot_leave_is_an_error_at_the_line_that_sends_it(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    (tmp_path / "a.txt").write_text("hello")
    scope = {"listener": "first", "provider": "twilio", "number": OURS} | more
    sender = DirectSender({}, OutgoingServers({"sms": {"first": scope}}, {}), None)
    sender.start()
    with pytest.raises(LocalProtocolError, match=said):
        await sender.asend(event(media=[read_file(tmp_path / "a.txt")]))


@pytest.mark.parametrize("url", ["data:image/png,x", "data:image/png;base64,***"])
async def test_what_is_no_file_is_dead_with_the_reason(store: SQLiteStore, url: str) -> None:
    row = ROWS["twilio"]
    async with rest(row) as one:
        there = hook("first", row.settings(one.url, public_url=URL), nothing, store)
        async with sending(store, there):
            await put(store, "e", event(media=[url]))
            await waits(store, 0)
        assert one.posts == []
    [item] = await store.outgoing()
    assert "a data: URL in media is not" in item.error


def test_a_file_is_bounded_and_has_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(LONGEST + 1))
    (tmp_path / "empty").touch()
    for name, said in (("large", f"more than {LONGEST} bytes"), ("empty", "is empty")):
        with pytest.raises(ValueError, match=said):
            read_file(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none")
