"""Texts that leave on their own: posted to a real HTTP server, compared with what Twilio's own library posts."""

import asyncio
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.provider import provider
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client
from waiting import until

from protocols.errors import AccountRefused, LocalProtocolError, NotSent, OutcomeUnknown, PermanentFailure
from protocols.secret import Secret
from protocols.sms import GenericSettings, ProviderSettings, Request, SMSWebhook, TwilioSettings, provider_for
from protocols.sms.provider import PATIENCE, OutgoingText, parts
from protocols.sms.providers import parts_of
from protocols.sms.segments import segments
from protocols.sms.sending import LONGEST_RESPONSE, ProviderClient, parse_retry_after

LIMIT = 10.0
CREATED = (201, '{"sid": "SM1"}')
EVENT = {
    "type": "sms.send",
    "id": "event-0",
    "to": "+447400123456",
    "from": "+15005550006",
    "text": "Hello + wörld & co",
    "media": ["https://example.org/a.png?x=1&y=2", "https://example.org/b.png"],
}


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The application, which sends nothing itself."""


def twilio(url: str, **settings: Any) -> TwilioSettings:
    given = {"auth_token": Secret("token-1"), "account_sid": "AC1", "api_url": url} | settings
    return TwilioSettings(on="web", path="/", **given)


def generic(url: str, **settings: Any) -> GenericSettings:
    return GenericSettings(on="web", path="/", secret=Secret("key-1"), send_url=f"{url}/send?to=phone", **settings)


async def send(settings: ProviderSettings, event: dict[str, Any] = EVENT) -> None:
    async with SMSWebhook(nothing, settings, name="texts") as hook:
        await hook.send(event)


class _Redirected(TwilioHttpClient):
    """Twilio's own client, to our server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def request(self, method: str, url: str, *rest: Any, **options: Any) -> Any:
        return super().request(method, url.replace("https://api.twilio.com", self._url), *rest, **options)


def post_with_the_library(url: str) -> None:
    client = Client("AC1", "token-1", http_client=_Redirected(url))
    try:
        client.messages.create(to=EVENT["to"], from_=EVENT["from"], body=EVENT["text"], media_url=EVENT["media"])
    finally:
        client.http_client.session.close()


async def test_twilio_gets_what_its_own_library_posts() -> None:
    async with provider(CREATED) as there:
        await send(twilio(there.url))
        await asyncio.to_thread(post_with_the_library, there.url)
    (path, headers, body), (their_path, their_headers, their_body) = there.posts
    assert path == their_path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert sorted(parse_qsl(body.decode())) == sorted(parse_qsl(their_body.decode()))
    for name in ("authorization", "content-type"):
        assert headers[name] == their_headers[name]


async def test_a_long_text_goes_to_twilio_in_parts_its_media_with_the_first() -> None:
    async with provider(CREATED) as there:
        await send(twilio(there.url), EVENT | {"text": "x" * 1600 + "y"})  # 11 SMS, as the whole
    forms = [parse_qsl(body.decode()) for _, _, body in there.posts]
    assert [dict(form)["Body"] for form in forms] == ["x" * 1530, "x" * 70 + "y"]
    assert [sum(name == "MediaUrl" for name, _ in form) for form in forms] == [2, 0]


async def test_generic_posts_json_signed_as_the_webhook_is() -> None:
    async with provider((202, "")) as there:
        await send(generic(there.url))
    [(path, headers, body)] = there.posts
    assert path == "/send?to=phone"
    assert json.loads(body) == {key: value for key, value in EVENT.items() if key != "type"}
    request = Request("POST", there.url, headers, body)
    assert provider_for(generic(there.url, require_timestamp=True)).verify(request)
    assert not provider_for(generic(there.url)).verify(Request("POST", there.url, headers, body + b" "))


@pytest.mark.parametrize("make", [twilio, generic])
@pytest.mark.parametrize(
    ("status", "kind"),
    [(status, PermanentFailure) for status in (400, 406, 410, 413, 415, 422)]
    + [(status, AccountRefused) for status in (301, 302, 307, 401, 402, 403, 404, 405, 407)]
    + [(status, NotSent) for status in (408, 425, 429, 503)]
    + [(status, OutcomeUnknown) for status in (500, 502, 504)],
)
async def test_whom_an_answer_that_is_no_yes_refuses(make: Any, status: int, kind: type[NotSent]) -> None:
    async with provider((status, '{"code": 99999, "message": "+447400123456 is no number"}')) as there:
        with pytest.raises(NotSent, match=f"answered {status}") as failed:
            await send(make(there.url))
    assert type(failed.value) is kind
    assert len(there.posts) == 1
    assert "+44" not in str(failed.value)
    assert ("99999" in str(failed.value)) == (make is twilio)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, 21610, PermanentFailure),
        (403, 21610, PermanentFailure),
        (400, 21211, PermanentFailure),
        (400, 21614, PermanentFailure),
        (403, 21408, PermanentFailure),
        (401, 20003, AccountRefused),
        (400, 20003, AccountRefused),
        (400, 30002, AccountRefused),
        (400, 90010, AccountRefused),
        (400, 10001, AccountRefused),
        (400, 21611, NotSent),
        (429, 20429, NotSent),
        (429, 63038, NotSent),
    ],
)
async def test_twilios_own_code_says_more_than_the_status(status: int, code: int, kind: type[NotSent]) -> None:
    async with provider((status, json.dumps({"code": code, "status": status}))) as there:
        with pytest.raises(NotSent, match=f"answered {status}, error {code} ") as failed:
            await send(twilio(there.url))
    assert type(failed.value) is kind


@pytest.mark.parametrize("body", ["", "[]", "{", '{"code": "x\\ny"}', '{"code": {}}', "[" * 100_000, "x" * 10**6])
async def test_an_error_with_any_body_is_told_by_its_status(body: str) -> None:
    async with provider((400, body)) as there:
        with pytest.raises(PermanentFailure, match=r"^the provider answered 400$"):
            await send(twilio(there.url))
    assert LONGEST_RESPONSE < 10**6


async def test_twilio_that_says_200_has_not_made_a_message() -> None:
    async with provider((200, "{}")) as there:
        with pytest.raises(NotSent, match="answered 200"):
            await send(twilio(there.url))


async def test_the_rest_of_a_long_text_does_not_leave_after_a_refusal() -> None:
    async with provider((400, "{}")) as there:
        with pytest.raises(PermanentFailure):
            await send(twilio(there.url), EVENT | {"text": "x" * 4000})
    assert len(there.posts) == 1


async def test_a_provider_that_is_silent_is_given_up() -> None:
    async with provider(CREATED) as there:
        there.hangs = True
        sender = ProviderClient(provider_for(twilio(there.url)), timeout=0.05)
        try:
            with pytest.raises(NotSent, match=r"127\.0\.0\.1 did not answer within 0\.05 s") as failed:
                await sender.send(OutgoingText("1", "+1", "+2", "x"))
        finally:
            await sender.close()
    assert type(failed.value) is OutcomeUnknown


async def test_a_text_under_way_is_waited_for_at_the_end() -> None:
    async with provider(CREATED) as there:
        there.hangs = True
        hook = SMSWebhook(nothing, twilio(there.url), name="texts")
        await hook.start()
        sending = asyncio.ensure_future(hook.send(EVENT))
        await until(lambda: there.waiting)
        stopping = asyncio.ensure_future(hook.stop(LIMIT))
        await asyncio.sleep(0)
        there.resume()
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(sending, stopping)
        assert len(there.posts) == 1


@pytest.mark.parametrize("make", [twilio, generic])
@pytest.mark.parametrize(
    ("status", "header", "asked"),
    [(503, "7", 7), (429, "7", 7), (429, None, PATIENCE), (503, None, None), (429, "soon", PATIENCE), (400, "7", None)],
)
async def test_what_a_provider_asks_for_is_told(make: Any, status: int, header: str | None, asked: float) -> None:
    async with provider((status, "")) as there:
        there.headers = {} if header is None else {"retry-after": header}
        with pytest.raises(NotSent) as failed:
            await send(make(there.url))
    assert failed.value.retry_after == asked


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60),
        ("Wed, 21 Oct 2015 07:26:00 GMT", 0),
        ("Wed, 21 Oct 2015 09:28:00 +0200", 60),
        ("9" * 5000, math.inf),
        *((header, None) for header in ("", "-1", "1.5", "soon", "Wed, 99 Oct 2015 07:28:00 GMT", "٣")),
    ],
)
def test_a_wish_is_a_number_of_seconds_or_a_date(header: str, seconds: float | None) -> None:
    assert parse_retry_after(header, now=1445412420.0) == seconds


@given(header=st.text(st.characters(max_codepoint=255)) | st.text("0123456789 :,+-GMTOctWed"))
def test_any_wish_is_read_or_left(header: str) -> None:
    seconds = parse_retry_after(header, now=1445412420.0)
    assert seconds is None or seconds >= 0


def test_a_part_has_something_to_read() -> None:
    """A template's last line break, just behind the longest text, is not text of its own."""
    for text in ("x" * 9 + "\n", " " * 9 + "x" * 9, "x" * 9 + " " * 9):
        assert [part["text"] for part in parts({"text": text, "media": ["m"]}, 9)] == ["x" * 9]
    assert parts({"text": "\n" * 20, "media": ["m"]}, 9) == [{"text": "\n" * 9, "media": ["m"]}]


SEEN = st.text(st.characters(whitelist_categories=("L", "N", "S")) | st.sampled_from("a\u4e2d\U0001f44b"), max_size=50)


@given(text=SEEN, longest=st.none() | st.integers(2, 9))
def test_parts_are_the_text(text: str, longest: int | None) -> None:
    event = {"type": "sms.send", "text": text, "media": ["https://example.org/a.png"], "to": "+1"}
    split = parts(event, longest)
    assert "".join(part["text"] for part in split) == text
    texts = [part["text"] for part in split]
    assert longest is not None or texts == [text]
    assert all(_units(each) <= (longest or _units(text)) for each in texts)
    assert all(_units(each + after[0]) > (longest or 0) for each, after in pairwise(texts))  # no more than it takes


@given(text=st.text(st.sampled_from("aé€{\u4e2d\U0001f44b"), max_size=900), longest=st.integers(160, 700))
def test_parts_take_no_more_sms_than_the_whole_text(text: str, longest: int) -> None:
    texts = [part["text"] for part in parts({"type": "sms.send", "text": text, "media": []}, longest)]
    assert "".join(texts) == text
    assert all(_units(each) <= longest for each in texts)
    assert sum(len(segments(each)) for each in texts) <= len(segments(text))


@given(text=SEEN, longest=st.integers(2, 9))
def test_media_go_with_the_first_part(text: str, longest: int) -> None:
    event = {"type": "sms.send", "text": text, "media": ["https://example.org/a.png"], "to": "+1"}
    split = parts(event, longest)
    assert [part["media"] for part in split] == [event["media"], *([] for _ in split[1:])]
    assert {part["to"] for part in split} == {"+1"}


def _units(text: str) -> int:
    """As a network counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@pytest.mark.parametrize(("name", "number"), [("twilio", 3), ("generic", 1), ("gone", 1)])
def test_a_provider_is_known_by_its_name(name: str, number: int) -> None:
    assert len(parts_of({"text": "x" * 3201}, name)) == number


@pytest.mark.parametrize("garbage", [None, b"", b"\x00" * 1000, b"HTTP/1.1 xyz\r\n\r\n"])
async def test_what_is_no_answer_is_temporary_and_shows_no_url(garbage: bytes | None) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(garbage or b"")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if garbage is None:  # nobody listens
        server.close()
        await server.wait_closed()
    said = "cannot be reached" if garbage is None else "gave no response"
    with pytest.raises(NotSent, match=rf"127\.0\.0\.1 {said}: ") as failed:
        await send(generic(f"http://127.0.0.1:{port}"))
    server.close()
    assert type(failed.value) is (NotSent if garbage is None else OutcomeUnknown)
    assert "phone" not in str(failed.value)


async def test_one_session_serves_many_texts_and_none_after_the_end() -> None:
    async with provider(CREATED) as there:
        hook = SMSWebhook(nothing, twilio(there.url), name="texts")
        async with hook:
            await asyncio.gather(*(hook.send(EVENT) for _ in range(40)))
        assert len(there.posts) == 40
        with pytest.raises(NotSent, match="texts is stopped"):
            await hook.send(EVENT)


@pytest.mark.parametrize(
    ("settings", "lacking"),
    [
        (TwilioSettings(on="web", path="/", auth_token=Secret("t")), "account_sid"),
        (TwilioSettings(on="web", path="/", shared_keys={"k": Secret("t")}, account_sid="AC1"), "auth_token"),
        (GenericSettings(on="web", path="/", secret=Secret("t")), "send_url"),
    ],
)
async def test_without_an_account_or_a_url_nothing_can_leave(settings: ProviderSettings, lacking: str) -> None:
    with pytest.raises(NotSent, match=f"sms texts cannot send: {lacking} is missing"):
        await send(settings)


@pytest.mark.parametrize("wrong", [{"to": 1}, {"text": b"x"}, {"media": [1]}])
async def test_what_is_no_text_is_not_sent(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        await send(twilio("http://127.0.0.1:1"), EVENT | wrong)


@pytest.mark.parametrize("key", ["to", "from", "text"])
async def test_a_text_needs_its_ends(key: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"needs the key '{key}'"):
        await send(twilio("http://127.0.0.1:1"), {name: value for name, value in EVENT.items() if name != key})


@pytest.mark.parametrize("url", ["", "api.twilio.com", "ftp://x", "https://", "http://[x", "http://x:99999"])
def test_an_interface_that_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="api_url is not a URL"):
        twilio(url)


def test_half_a_surrogate_pair_crashes_nobody() -> None:
    for settings in (twilio("http://x"), generic("http://x")):
        assert provider_for(settings).request(OutgoingText("1", "+1", "+2", "a\ud800b"))


async def test_texts_go_into_a_folder(tmp_path: Path) -> None:
    """For development: no account and no provider."""
    settings = GenericSettings(on="web", path="/", secret=Secret("k"), send_url=f"file:{tmp_path}/var/texts")
    folder = tmp_path / "var" / "texts"
    async with SMSWebhook(nothing, settings) as webhook:
        await webhook.send(EVENT)
        await webhook.send(EVENT)  # again, after its outcome was lost
        (path,) = folder.iterdir()
        assert json.loads(path.read_bytes())["text"] == EVENT["text"]
        assert path.stat().st_mode & 0o077 == 0
        folder.rename(tmp_path / "away")
        folder.write_text("in the way")
        with pytest.raises(NotSent, match="var/texts: "):
            await webhook.send(EVENT)
