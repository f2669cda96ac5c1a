"""The webhook, called as an ASGI application by httpx."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import until

from protocols.asgi import SMSScope
from protocols.errors import LocalProtocolError
from protocols.secret import Secret
from protocols.sms import GenericSettings, ProviderSettings, SMSWebhook, TextMessage, TwilioSettings

TWILIO = TwilioSettings(on="web", path="/hooks/twilio", auth_token=Secret("token-1"))
GENERIC = GenericSettings(on="web", path="/hooks/sms", secret=Secret("key-1"))
TEXT = TextMessage("+447400123456", "+15005550006", "m-1", "the content")
ORIGIN = "http://gateway.test"


class App:
    """Replies what ``answer`` sends, and remembers what it got."""

    def __init__(self, *answer: Any) -> None:
        self.answer = answer
        self.scopes: list[Any] = []
        self.events: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        while not self.events or self.events[-1]["type"] != "sms.disconnect":
            self.events.append(await receive())
            if self.events[-1]["type"] != "sms.disconnect":
                for step in self.answer:
                    if isinstance(step, BaseException):
                        raise step
                    await send(step)


async def post(hook: SMSWebhook, message: TextMessage = TEXT, **changes: Any) -> httpx.Response:
    request = hook.provider.sign(ORIGIN + hook.settings.path, message)
    return await call(hook, **{"content": request.body, "headers": dict(request.headers), **changes})


async def call(hook: Any, method: str = "POST", path: str | None = None, **request: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(hook), base_url=ORIGIN) as client:
        return await client.request(method, path or hook.settings.path, **request)


def bodies(response: httpx.Response) -> list[str | None]:
    return [body.text for body in ElementTree.fromstring(response.content).iter("Body")]


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="protocols")
    return caplog


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name.startswith("protocols")]


async def test_a_text_makes_a_scope_and_its_reply_rides_in_the_answer() -> None:
    app = App({"type": "sms.send", "text": "a < b"}, {"type": "sms.accept"}, {"type": "sms.send", "text": "two"})
    response = await post(SMSWebhook(app, TWILIO, name="texts", state={"answer": 42}))
    assert (response.status_code, bodies(response)) == (200, ["a < b", "two"])
    assert response.headers["content-type"].startswith("text/xml")
    [scope] = app.scopes
    assert SMSScope.__required_keys__ == scope.keys()
    assert scope["listener"] == "texts"
    assert (scope["provider"], scope["country"], scope["segments"]) == ("twilio", "GB", 1)
    assert (scope["sender"], scope["recipient"], scope["message_id"]) == ("+447400123456", "+15005550006", "m-1")
    assert scope["state"] == {"answer": 42}
    assert app.events == [{"type": "sms.receive", "text": "the content", "media": []}, {"type": "sms.disconnect"}]


async def test_the_generic_answer_is_json() -> None:
    response = await post(SMSWebhook(App({"type": "sms.send", "text": "yes", "from": "ME"}), GENERIC))
    assert response.json() == {"replies": [{"to": "+447400123456", "from": "ME", "text": "yes"}]}


async def test_returning_accepts_without_a_reply() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        return

    response = await post(SMSWebhook(app, TWILIO))
    assert (response.status_code, bodies(response)) == (200, [])


async def test_rejecting_takes_the_text_and_replies_nothing(log: pytest.LogCaptureFixture) -> None:
    app = App({"type": "sms.send", "text": "x"}, {"type": "sms.reject", "reason": "no such shop"})
    response = await post(SMSWebhook(app, TWILIO))
    assert (response.status_code, bodies(response)) == (200, [])
    assert lines(log) == ["sms +447400123456 -> +15005550006: rejected: no such shop"]


@pytest.mark.parametrize("settings", [TWILIO, GENERIC], ids=["twilio", "generic"])
@pytest.mark.parametrize("failure", [{"type": "sms.defer"}, RuntimeError("private"), SystemExit("private")])
async def test_what_was_not_done_asks_for_another_try(
    settings: ProviderSettings, failure: Any, log: pytest.LogCaptureFixture
) -> None:
    response = await post(SMSWebhook(App({"type": "sms.send", "text": "x"}, failure), settings))
    assert (response.status_code, response.content) == (503, b"")
    assert "content-type" not in response.headers
    assert len(lines(log)) == 1


async def test_an_application_that_does_not_end_is_cancelled_in_time(log: pytest.LogCaptureFixture) -> None:
    cancelled = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    slow = TwilioSettings(on="web", path="/", auth_token=Secret("t"), timeout=0.01)
    assert (await post(SMSWebhook(app, slow, name="texts"))).status_code == 503
    assert cancelled.is_set()
    assert lines(log) == [
        "sms +447400123456 -> +15005550006: cancelled, it did not finish in time",
        "sms texts: not done within 0.01 s; answered 503",
    ]


async def test_a_wrong_signature_is_one_line_and_no_scope(log: pytest.LogCaptureFixture) -> None:
    app = App()
    for hook in (SMSWebhook(app, TWILIO), SMSWebhook(app, GENERIC)):
        log.clear()
        response = await post(hook, headers={"content-type": "application/x-www-form-urlencoded"})
        assert (response.status_code, response.content) == (403, b"")
        wrong = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": "x", "x-signature": "x"}
        assert (await post(hook, headers=wrong)).status_code == 403
        assert len(lines(log)) == 2
        assert not [line for line in lines(log) if "token-1" in line or "key-1" in line or "content" in line]
    assert app.scopes == []


async def test_insecure_takes_anything_and_says_so(log: pytest.LogCaptureFixture) -> None:
    hook = SMSWebhook(App(), GenericSettings(on="web", path="/", insecure=True), name="texts", state={})
    async with hook:
        assert hook.status.detail == "generic, signatures NOT checked (insecure: true)"
        assert lines(log) == ["sms texts: signatures NOT checked (insecure: true)"]
        assert (await post(hook, headers={})).status_code == 200


async def test_the_http_rules() -> None:
    twilio, generic = SMSWebhook(App(), TWILIO), SMSWebhook(App(), GENERIC)
    refused = await call(twilio, "PUT")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST, GET")
    assert (await call(generic, "GET")).status_code == 405
    assert (await call(generic, content=b"x" * (256 * 1024 + 1))).status_code == 413
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await call(twilio, content=b"a=1&" * 1001, headers=form)).status_code == 400
    assert (await call(twilio, content=b"a=%ff", headers=form)).status_code == 400


async def test_a_receipt_is_sms_status_and_takes_no_reply() -> None:
    raised: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        event = await receive()
        assert event == {
            "type": "sms.status",
            "message_id": "m-1",
            "status": "failed",
            "error": "30003",
            "event_id": None,
            "text_id": None,
        }
        assert scope["sender"] == "+447400123456"
        with pytest.raises(LocalProtocolError) as caught:
            await send({"type": "sms.send", "text": "lost"})
        raised.append(caught.value)

    fields = {"MessageStatus": "failed", "SmsStatus": "failed", "ErrorCode": "30003"}
    receipt = TextMessage("+15005550006", "+447400123456", "m-1", "", fields=fields)
    assert (await post(SMSWebhook(app, TWILIO), receipt)).status_code == 200
    assert len(raised) == 1


async def test_what_may_not_be_sent_raises_out_of_send() -> None:
    wrong = [
        {"type": "sms.send"},
        {"type": "sms.send", "text": 1},
        {"type": "sms.send", "text": "", "media": [b"x"]},
        {"type": "sms.sent", "text": ""},
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for event in wrong:
            with pytest.raises(LocalProtocolError):
                await send(event)
        late.append(send)

    late: list[Any] = []
    assert (await post(SMSWebhook(app, TWILIO))).status_code == 200
    with pytest.raises(LocalProtocolError, match="already returned"):
        await late[0]({"type": "sms.send", "text": "too late"})


@pytest.mark.parametrize(("bad", "status"), [("none", 200), ("1", 503)])
async def test_every_message_of_a_batch_has_its_run_and_one_failure_brings_all_again(bad: str, status: int) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["message_id"])
        if scope["message_id"] == bad:
            raise ValueError
        await send({"type": "sms.send", "text": scope["message_id"]})

    hook = SMSWebhook(app, GenericSettings(on="web", path="/", insecure=True))
    batch = [{"id": str(number), "from": "A", "to": "B", "text": ""} for number in range(3)]
    response = await call(hook, json=batch)
    assert (response.status_code, seen) == (status, ["0", "1", "2"])
    if status == 200:
        assert [reply["text"] for reply in response.json()["replies"]] == ["0", "1", "2"]


async def test_a_program_of_ones_own_may_wait_longer_than_a_provider(log: pytest.LogCaptureFixture) -> None:
    for settings_, told in ((replace(GENERIC, timeout=60.0), 0), (replace(TWILIO, timeout=60.0), 1)):
        log.clear()
        await SMSWebhook(App(), settings_, name="texts").start()
        assert lines(log) == ["sms texts: timeout is 14.5 s, because twilio waits for 15 s"] * told


class Held:
    """Holds each run until ``go`` is set, then replies with its number, or raises ``failure``."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.go = asyncio.Event()
        self.runs = 0
        self.failure = failure

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.runs += 1
        number = self.runs
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        await send({"type": "sms.send", "text": f"run {number}"})


async def test_a_repetition_of_a_text_that_is_handled_waits_for_it_and_has_its_answer(
    log: pytest.LogCaptureFixture,
) -> None:
    app = Held()
    hook = SMSWebhook(app, TWILIO, name="texts")
    waiting = [asyncio.ensure_future(post(hook)) for _ in range(3)]
    other = asyncio.ensure_future(post(hook, replace(TEXT, text="another")))
    again = "sms texts: 'm-1' is delivered again while it is handled"
    await until(lambda: lines(log).count(again) == app.runs == 2)
    app.go.set()
    assert [bodies(await each) for each in (*waiting, other)] == [["run 1"]] * 3 + [["run 2"]]
    assert bodies(await post(hook)) == ["run 3"]  # without a policy nothing is remembered


async def test_a_repetition_of_a_text_that_fails_asks_for_another_try_too(log: pytest.LogCaptureFixture) -> None:
    app = Held(RuntimeError("private"))
    hook = SMSWebhook(app, TWILIO)
    waiting = [asyncio.ensure_future(post(hook)) for _ in range(3)]
    await until(lambda: sum("again while" in line for line in lines(log)) == 2)
    app.go.set()
    assert [(await each).status_code for each in waiting] == [503, 503, 503]


async def test_no_route_takes_the_text_and_says_so(log: pytest.LogCaptureFixture) -> None:
    class Router(App):
        def routable(self, scope: Any) -> bool:
            return scope["country"] == "US"

    app = Router()
    response = await post(SMSWebhook(app, TWILIO, name="texts"))
    assert (response.status_code, bodies(response), app.scopes) == (200, [], [])
    assert lines(log) == ["sms texts: no route for sms +447400123456 -> +15005550006; accepted and dropped"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([], r"texts: \w+ sms \+447400123456 -> \+15005550006: accepted, 0 replies, \d+ ms"),
        ([{"type": "sms.send", "text": "yes"}], r"texts: \w+ sms .*: accepted, 1 reply, \d+ ms"),
        ([{"type": "sms.reject", "reason": "spam"}], r"sms .*: rejected: spam"),
        ([{"type": "sms.defer"}], r"sms .*: deferred"),
        ([ValueError("no")], r"sms \+447400123456 -> \+15005550006"),
    ],
)
async def test_what_became_of_each_text_is_one_line(
    answer: list[Any], said: str, log: pytest.LogCaptureFixture
) -> None:
    await post(SMSWebhook(App(*answer), GENERIC, name="texts"))
    [line] = [record.getMessage() for record in log.records if record.name.startswith("protocols.")]
    assert re.fullmatch(said, line)
    assert TEXT.text not in log.text


async def test_draining_finishes_what_runs_and_takes_nothing_new() -> None:
    running, release = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        running.set()
        await release.wait()

    hook = SMSWebhook(app, GENERIC, state={})
    await hook.start()
    assert (hook.status.detail, hook.address) == ("generic, signatures checked", "web/hooks/sms")
    first = asyncio.ensure_future(post(hook))
    await running.wait()
    assert hook.active() == {"sms": 1}
    stopping = asyncio.ensure_future(hook.stop(5))
    await asyncio.sleep(0)
    assert (await post(hook)).status_code == 503
    release.set()
    assert (await first).status_code == 200
    await stopping
    assert hook.active() == {}
    assert hook.status.state == "stopped"


async def test_draining_cancels_what_does_not_finish() -> None:
    running = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        running.set()
        await asyncio.Event().wait()

    hook = SMSWebhook(app, GENERIC, state={})
    await hook.start()
    request = asyncio.ensure_future(post(hook))
    await running.wait()
    await hook.stop(0.01)
    with pytest.raises(asyncio.CancelledError):
        await request
    assert hook.active() == {}


async def test_lifespan_passes_through_and_a_websocket_is_refused() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def send(event: Any) -> None:
        seen.append(event["type"])

    async def receive() -> Any:
        raise AssertionError

    hook = SMSWebhook(app, GENERIC)
    await hook({"type": "lifespan"}, receive, send)
    await hook({"type": "websocket"}, receive, send)
    assert seen == ["lifespan", "websocket.close"]


async def test_a_provider_that_leaves_in_mid_body_leaves_no_trace(log: pytest.LogCaptureFixture) -> None:
    async def events() -> AsyncIterator[Any]:
        yield {"type": "http.request", "body": b"x", "more_body": True}
        yield {"type": "http.disconnect"}

    async def send(event: Any) -> None:
        raise AssertionError

    app = App()
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    await SMSWebhook(app, GENERIC)(scope, events().__anext__, send)
    assert app.scopes == []


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "HEAD", "X"]),
    st.lists(st.tuples(st.sampled_from([b"host", b"content-type", b"x-twilio-signature", b"x-signature",
                                        b"x-timestamp"]), st.binary(max_size=40)), max_size=5),
    st.binary(max_size=60),
    st.binary(max_size=200),
    st.sampled_from([TWILIO, GENERIC, TwilioSettings(on="web", path="/", insecure=True),
                     GenericSettings(on="web", path="/", insecure=True)]),
)  # fmt: skip
def test_any_bytes_get_a_clean_status(method: str, headers: Any, query: bytes, body: bytes, which: Any) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(event: Any) -> None:
        sent.append(event)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    sent: list[Any] = []
    scope = {
        "type": "http", "method": method, "path": "/", "raw_path": b"/", "query_string": query, "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("/run/s", None),
    }  # fmt: skip
    asyncio.run(SMSWebhook(app, which)(scope, receive, send))
    assert [event["type"] for event in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] in (200, 400, 403, 405)
