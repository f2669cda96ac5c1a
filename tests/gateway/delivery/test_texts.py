"""The inbox for texts, end to end: webhook, store, worker, outbox, and the provider's REST interface."""

import contextlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from servers.provider import provider
from test_worker import LIMIT, working
from waiting import until

from gateway import AsyncSMSConsumer, Policy, ProtocolTypeRouter, SMSFromRouter
from gateway.delivery.outbox import NoServer, Outbox
from gateway.delivery.service import deliveries
from gateway.routing import default
from gateway.runtime.servers import make_outlets
from gateway.scopes.server_kind import Given
from gateway.store.sqlite import SQLiteStore
from protocols.secret import Secret
from protocols.sms import GenericSettings, ProviderSettings, SMSWebhook, TextMessage, TwilioSettings
from protocols.sms.providers.generic import Generic

INBOX = Policy(inbox=True, attempts=2, backoff=0.01)
TEXT = TextMessage("+447400123456", "+15005550006", "m-1", "are you open?")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is looked for sooner than once a second."""
    monkeypatch.setattr("gateway.delivery.poller.LOOK_AGAIN", 0.05)


def twilio(url: str) -> TwilioSettings:
    return TwilioSettings(on="web", path="/", auth_token=Secret("t"), account_sid="AC1", api_url=url)


def generic(url: str) -> GenericSettings:
    return GenericSettings(on="web", path="/", secret=Secret("k"), send_url=f"{url}/send")


def routed(target: Any) -> Any:
    return ProtocolTypeRouter({"sms": SMSFromRouter([default(target, policy=INBOX)])})


async def post(hook: SMSWebhook) -> httpx.Response:
    request = hook.provider.sign("http://gateway.test/", TEXT)
    return await call(hook, request.body, dict(request.headers))


async def call(hook: SMSWebhook, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url="http://gateway.test") as client:
        return await client.post("/", content=body, headers=headers)


@contextlib.asynccontextmanager
async def running(store: SQLiteStore, app: Any, settings: ProviderSettings) -> AsyncIterator[SMSWebhook]:
    """A webhook named "texts", and what delivers behind it."""
    async with SMSWebhook(app, settings, name="texts", state={}) as hook, working(store, app):
        outbox = Outbox(deliveries.get(), make_outlets([hook], Given(store=store)))
        outbox.backoff = Policy(backoff=0.01)
        outbox.start()
        try:
            yield hook
        finally:
            await outbox.stop(LIMIT)


async def quiet(store: SQLiteStore) -> bool:
    counts = await store.counts()
    return counts.waiting == counts.running == counts.outgoing == 0


class Answers(AsyncSMSConsumer):
    async def receive(self, text: str, media: Any) -> None:
        await self.reply(f"you wrote: {text}")


async def test_a_reply_from_the_inbox_leaves_by_twilios_interface(store: SQLiteStore) -> None:
    async with provider((201, "{}")) as there, running(store, routed(Answers), twilio(there.url)) as hook:
        for _ in range(2):  # the second is a repetition: acknowledged, and not handled again
            response = await post(hook)
            assert response.status_code == 200
            assert b"<Message" not in response.content
        await until(lambda: quiet(store))
    [(path, _, body)] = there.posts
    assert path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert dict(parse_qsl(body.decode())) == {
        "To": TEXT.sender,
        "From": TEXT.recipient,
        "Body": f"you wrote: {TEXT.text}",
    }


async def test_several_replies_have_an_id_each_and_may_go_elsewhere(store: SQLiteStore) -> None:
    async def tells(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "sms.send", "text": "one", "to": "+33639980123", "from": "SHOP"})
        await send({"type": "sms.accept"})
        await send({"type": "sms.send", "text": "two", "media": ["https://example.org/a.png"], "to": None})

    async with provider((200, "")) as there, running(store, routed(tells), generic(there.url)) as hook:
        assert (await post(hook)).json() == {"replies": []}
        await until(lambda: quiet(store))
    one, two = sorted((json.loads(body) for _, _, body in there.posts), key=lambda text: text["id"])
    assert (one["to"], one["from"], one["text"]) == ("+33639980123", "SHOP", "one")
    assert (two["to"], two["from"], two["media"]) == (TEXT.sender, TEXT.recipient, ["https://example.org/a.png"])
    assert one["id"] != two["id"]


async def test_only_what_the_attempt_that_succeeded_wanted_to_send_leaves(store: SQLiteStore) -> None:
    runs: list[int] = []

    class Stumbles(AsyncSMSConsumer):
        async def receive(self, text: str, media: Any) -> None:
            runs.append(1)
            await self.reply(f"attempt {len(runs)}")
            if len(runs) == 1:
                raise ValueError("at first")

    async with provider((200, "")) as there, running(store, routed(Stumbles), generic(there.url)) as hook:
        await post(hook)
        await until(lambda: quiet(store))
    assert [json.loads(body)["text"] for _, _, body in there.posts] == ["attempt 2"]


@pytest.mark.parametrize("policy", [Policy(), Policy(attempts=2), INBOX])
async def test_where_the_webhooks_answer_carries_no_replies_they_leave_by_the_interface(
    store: SQLiteStore, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Generic, "carries_replies", False)
    app = ProtocolTypeRouter({"sms": SMSFromRouter([default(Answers, policy=policy)])})
    async with provider((200, "")) as there, running(store, app, generic(there.url)) as hook:
        assert (await post(hook)).json() == {"replies": []}
        await until(lambda: quiet(store))
    [text] = (json.loads(body) for _, _, body in there.posts)
    assert (text["to"], text["from"], text["text"]) == (TEXT.sender, TEXT.recipient, f"you wrote: {TEXT.text}")


async def test_a_reply_that_does_not_leave_is_a_record_and_the_text_is_acknowledged(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Generic, "carries_replies", False)
    app = ProtocolTypeRouter({"sms": SMSFromRouter([default(Answers)])})
    async with provider((400, "")) as there, running(store, app, generic(there.url)) as hook:
        assert (await post(hook)).status_code == 200
        await hook.stop(LIMIT)
        said = f"sms texts: the reply to {TEXT.sender} (text m-1) was not sent: the provider answered 400"
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [said]


async def test_a_rejected_text_is_not_answered(store: SQLiteStore) -> None:
    class Rejects(AsyncSMSConsumer):
        async def receive(self, text: str, media: Any) -> None:
            await self.reply("never mind")
            await self.reject()

    async with provider((200, "")) as there, running(store, routed(Rejects), generic(there.url)) as hook:
        await post(hook)
        await until(lambda: quiet(store))
    assert there.posts == []


@pytest.mark.parametrize("sent", [{"text": 5}, {"text": "x", "to": 5}, {}])
async def test_a_handler_that_sends_no_text_fails(store: SQLiteStore, sent: dict[str, Any]) -> None:
    async def errs(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "sms.send", **sent})

    async with provider((200, "")) as there, running(store, routed(errs), generic(there.url)) as hook:
        await post(hook)
        await until(lambda: quiet(store))
    [dead] = await store.dead()
    assert "LocalProtocolError" in dead.error
    assert there.posts == []


async def test_a_receipt_is_not_answered(store: SQLiteStore) -> None:
    class Errs(AsyncSMSConsumer):
        async def status(self, message: Any) -> None:
            await self.reply("thank you for delivering")

    async with provider((200, "")) as there, running(store, routed(Errs), generic(there.url)) as hook:
        receipt = {"id": "m-1", "from": TEXT.recipient, "to": TEXT.sender, "status": "delivered"}
        body = json.dumps(receipt).encode()
        headers = {"X-Signature": hmac.digest(b"k", body, "sha256").hex()}
        assert (await call(hook, body, headers)).status_code == 200
        await until(lambda: quiet(store))
    [dead] = await store.dead()
    assert "reply: a delivery receipt cannot be answered" in dead.error
    assert there.posts == []


async def test_a_provider_that_is_away_is_tried_again_under_the_same_id(store: SQLiteStore) -> None:
    async with (
        provider((503, ""), (500, ""), (200, "")) as there,
        running(store, routed(Answers), generic(there.url)) as hook,
    ):
        await post(hook)
        await until(lambda: quiet(store))
    assert len(there.posts) == 3
    assert len({body for _, _, body in there.posts}) == 1


@pytest.mark.parametrize("code", [21211, 21610])
async def test_what_is_refused_for_good_is_dead_with_the_answer(store: SQLiteStore, code: int) -> None:
    answer = (400, json.dumps({"code": code, "message": "+447400123456 is no number"}))
    async with provider(answer) as there, running(store, routed(Answers), twilio(there.url)) as hook:
        assert (await post(hook)).status_code == 200
        await until(lambda: quiet(store))
    assert len(there.posts) == 1
    [item] = await store.outgoing()
    assert (item.type, item.state, item.recipient) == ("sms", "dead", TEXT.sender)
    said = ": the recipient has opted out" if code == 21610 else ""
    url = "https://www.twilio.com/docs/api/errors"
    assert item.error == f"the provider answered 400, error {code} ({url}/{code}){said}"


async def test_an_account_that_is_refused_keeps_its_texts(store: SQLiteStore) -> None:
    """A login, or one of the settings that sending needs."""
    async with provider((401, '{"code": 20003}')) as there:
        lacking = TwilioSettings(on="web", path="/", auth_token=Secret("t"), api_url=there.url)
        for settings in (twilio(there.url), lacking):
            async with running(store, routed(Answers), settings) as hook:
                await post(hook)

                async def rests() -> bool:
                    return [item.state for item in await store.outgoing()] == ["resting"]

                await until(rests)
    assert len(there.posts) == 1


async def test_a_server_that_is_gone_from_the_file_keeps_its_texts(store: SQLiteStore) -> None:
    outlet = make_outlets([], Given(store=store))["sms"]
    with pytest.raises(NoServer, match="no sms server 'texts' any more"):
        await outlet("texts", {"type": "sms.send", "text": "x"})
