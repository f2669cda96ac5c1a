"""What strangers post: no scope, a 4xx, no exception, whichever the provider."""

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.courier_provider import Courier, CourierSettings

from protocols.asgi import Application
from protocols.secret import Secret
from protocols.sms import PROVIDERS, GenericSettings, SMSWebhook, TextMessage, TwilioSettings

ORIGIN = "http://hook.test"
SETTINGS: dict[str, Any] = {
    "twilio": TwilioSettings(on="web", path="/hook", auth_token=Secret("token-1")),
    "generic": GenericSettings(on="web", path="/hook", secret=Secret("key-1")),
}
OPEN: dict[str, Any] = {
    "twilio": TwilioSettings(on="web", path="/hook", insecure=True),
    "generic": GenericSettings(on="web", path="/hook", insecure=True),
}
TEXT = TextMessage("+447400123456", "+15005550006", "m-1", "hello")


class Counted:
    """An application that counts its scopes."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)


async def call(hook: Application, body: bytes, headers: Any, method: str = "POST", query: bytes = b"") -> int:
    transport = httpx.ASGITransport(hook)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        request = client.build_request(method, "/hook", content=body, headers=headers)
        request.url = request.url.copy_with(query=query or None)
        return (await client.send(request)).status_code


@pytest.mark.parametrize("name", SETTINGS)
async def test_a_request_with_any_one_byte_changed_makes_no_scope(name: str) -> None:
    app = Counted()
    hook = SMSWebhook(app, SETTINGS[name])
    request = hook.provider.sign(f"{ORIGIN}/hook", TEXT)
    for at in range(len(request.body)):
        changed = bytearray(request.body)
        changed[at] ^= 0x01
        assert await call(hook, bytes(changed), request.headers) in (400, 403)
    assert app.scopes == []
    assert await call(hook, request.body, request.headers) == 200
    assert len(app.scopes) == 1


@pytest.mark.parametrize("name", SETTINGS)
async def test_every_header_left_out_emptied_or_doubled_makes_no_scope(name: str) -> None:
    app = Counted()
    hook = SMSWebhook(app, SETTINGS[name])
    request = hook.provider.sign(f"{ORIGIN}/hook", TEXT)
    for header in (each for each in request.headers if each.startswith("x-")):
        without = {key: value for key, value in request.headers.items() if key != header}
        for value in ("", " ", "\x7f", "é", "=" * 8000, request.headers[header] + "x", request.headers[header][:-1]):
            changed = [*without.items(), (header, value.encode("latin-1"))]
            assert await call(hook, request.body, changed) == 403
        assert await call(hook, request.body, without) == 403
        assert await call(hook, request.body, [*request.headers.items(), (header, "x")]) == 403
    assert app.scopes == []


@pytest.mark.parametrize("name", SETTINGS)
async def test_a_body_of_ten_megabytes_is_refused_before_it_is_all_there(name: str) -> None:
    app, read = Counted(), 0

    async def receive() -> Any:
        nonlocal read
        read += 65536
        return {"type": "http.request", "body": b"a=" + b"x" * 65534, "more_body": True}

    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"type": "http", "method": "POST", "path": "/hook", "query_string": b"", "headers": []}
    await SMSWebhook(app, SETTINGS[name])(scope, receive, send)
    assert (sent[0]["status"], app.scopes) == (413, [])
    assert read < 1_000_000


BLANKS = [
    b"", b"&", b"=&=&=", b"From=&To=&Body=&MessageSid=", b"From=a&To=b&MessageSid=+", b"MessageStatus=&SmsStatus=",
    b"{}", b"[]", b"null", b"[null]", b"[[]]", b'{"id":""}', b'{"id":" ","from":"","to":"","text":""}',
    b'{"id":1,"from":2,"to":3,"text":4}', b'{"id":"1","from":"","to":"","text":"","media":{"a":1}}',
    b'{"id":"1","from":"a","to":"b","status":null}', b'"\\ud800"', b"[" * 100_000, b'{"a":' * 50_000, b"1e999999",
    b"\xff\xfe", b"%", b"%zz=%ff", b"\x00" * 1000, b"a=1&" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("name", OPEN)
@pytest.mark.parametrize("body", BLANKS, ids=[repr(body[:20]) for body in BLANKS])
@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "application/json", "", "\x01;;"])
async def test_blank_and_broken_bodies_are_a_4xx_also_unsigned(name: str, body: bytes, media: str) -> None:
    app = Counted()
    status = await call(SMSWebhook(app, OPEN[name]), body, {"content-type": media})
    if (name, body) == ("generic", b"[]"):
        assert status == 200  # a batch of none
    else:
        assert 400 <= status < 500
    assert app.scopes == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(OPEN)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "from", "to", "text", "media", "segments", "status", "url", "MessageSid", "From",
                             "To", "Body", "MediaUrl0", "NumSegments", "MessageStatus"]), inner, max_size=8
        ),
        max_leaves=30,
    ),
)  # fmt: skip
def test_any_json_has_a_clean_answer(name: str, value: Any) -> None:
    body = json.dumps(value).encode()
    status = asyncio.run(call(SMSWebhook(Counted(), OPEN[name]), body, {"content-type": "application/json"}))
    assert status == 200 or 400 <= status < 500


async def test_a_captured_request_that_is_old_makes_no_scope_where_the_scheme_has_a_time() -> None:
    app = Counted()
    hook = SMSWebhook(app, SETTINGS["generic"])
    request = hook.provider.sign(f"{ORIGIN}/hook", TEXT)
    old: Any = PROVIDERS["generic"](SETTINGS["generic"])
    old._clock = lambda: 1000.0
    assert await call(hook, request.body, old.sign(f"{ORIGIN}/hook", TEXT).headers) == 403
    without = {key: value for key, value in request.headers.items() if key != "x-timestamp"}
    assert await call(hook, request.body, without) == 403  # removing the time makes the signature wrong
    assert app.scopes == []


async def test_a_thousand_forgeries_at_once_are_a_line_each_without_what_they_say(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    app = Counted()
    hook = SMSWebhook(app, SETTINGS["twilio"])
    form = {"content-type": "application/x-www-form-urlencoded"}
    calls = [call(hook, b"MessageSid=1&Body=private-words&From=%2B1&To=%2B2", form) for _ in range(1000)]
    assert set(await asyncio.gather(*calls)) == {403}
    assert app.scopes == []
    told = [record for record in caplog.records if record.name == "protocols.sms.webhook"]
    assert len(told) == 1000
    assert not any("private-words" in record.getMessage() for record in told)


@pytest.mark.parametrize(
    "url", ["", "http://169.254.169.254/", "file:///etc/passwd", "https://k.example.org.evil.test/"]
)
async def test_a_request_cannot_choose_the_host_of_its_key(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setitem(PROVIDERS, "courier", Courier)
    given_: Any = CourierSettings(
        on="web", path="/hook", key_host="https://k.example.org/", private_key=Secret("07" * 32)
    )
    hook = SMSWebhook(Counted(), given_)
    assert await call(hook, b"[]", {"x-key-url": url}) == 401
    assert hook._fetchers == []
