"""Signatures against published vectors and Twilio's own library; fields, TwiML, JSON. Pure: no loop, no socket."""

import hashlib
import hmac
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from protocols.errors import RemoteProtocolError
from protocols.secret import Secret
from protocols.sms import (
    DeliveryReceipt,
    GenericSettings,
    Reply,
    Request,
    TextMessage,
    TwilioSettings,
    provider_for,
    providers,
)
from protocols.sms.country import country
from protocols.sms.providers.generic import Generic
from protocols.sms.providers.twilio import Twilio
from protocols.sms.senders import as_sent

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
URL = "https://example.com/hooks/twilio"
TOKEN = "12345"
FORM_TYPE = "application/x-www-form-urlencoded"
ASKED = Request("POST", URL, {})
FORM = {
    "MessageSid": "SM1",
    "From": "+447911123456",
    "To": "+15005550006",
    "Body": "It's 5 > 4 & <b>",
    "NumMedia": "0",
    "NumSegments": "2",
    "FromCity": "",
}


def twilio(**settings: Any) -> Twilio:
    return Twilio(TwilioSettings(on="web", path="/", **{"auth_token": Secret(TOKEN), **settings}))


def generic(now: float = 1000.0, **settings: Any) -> Generic:
    return Generic(GenericSettings(on="web", path="/", **{"secret": Secret("s3cr3t"), **settings}), lambda: now)


def posted(fields: dict[str, str], url: str = URL, token: str = TOKEN, **headers: str) -> Request:
    """As Twilio posts it, signed by Twilio's library."""
    signature = RequestValidator(token).compute_signature(url, fields)
    return Request(
        "POST",
        url,
        {
            "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
            "x-twilio-signature": signature,
            **headers,
        },
        urlencode(fields).encode(),
    )


@pytest.mark.parametrize("case", VECTORS["twilio"]["cases"], ids=lambda case: f"{case['url'][:40]} {case['note']}")
def test_twilios_vectors(case: dict[str, Any]) -> None:
    pairs = [tuple(pair) for pair in case.get("pairs", VECTORS["twilio"]["pairs_default"])]
    raw = case.get("raw")
    body = (raw if raw is not None else case.get("form") or urlencode(pairs)).encode()
    headers = {
        "content-type": "application/json" if raw is not None else "application/x-www-form-urlencoded",
        "x-twilio-signature": case["sig"],
    }
    provider = twilio()
    if case.get("alg") == "sha256":
        headers["x-twilio-webhooks-signature-settings"] = "key=k1,algorithm=HMAC_SHA256"
        provider = twilio(auth_token=(), shared_keys={"k1": Secret(VECTORS["twilio"]["token"])})
    request = Request("POST", case["url"], headers, body)
    assert provider.verify(request) is case["ok"]
    assert not provider.verify(replace(request, body=body + b"&x=1"))


def test_what_twilios_library_signed_is_taken() -> None:
    assert twilio().verify(posted(FORM))


@pytest.mark.parametrize("change", ["body", "url", "signature", "missing", "not ascii", "token"])
def test_what_was_changed_on_the_way_is_not(change: str) -> None:
    request = posted(FORM)
    wrong = {
        "body": replace(request, body=request.body.replace(b"SM1", b"SM2")),
        "url": replace(request, url=URL + "?a=1"),
        "signature": replace(request, headers={**request.headers, "x-twilio-signature": "A" * 28}),
        "missing": replace(request, headers={"content-type": request.headers["content-type"]}),
        "not ascii": replace(request, headers={**request.headers, "x-twilio-signature": "\xe9"}),
        "token": posted(FORM, token="other"),
    }[change]
    assert not twilio().verify(wrong)
    assert TOKEN not in twilio().explain(wrong)
    assert "SM" not in twilio().explain(wrong)


def test_several_tokens_while_they_rotate() -> None:
    provider = twilio(auth_token=(Secret("old"), Secret("new")))
    assert provider.verify(posted(FORM, token="old"))
    assert provider.verify(posted(FORM, token="new"))
    assert not provider.verify(posted(FORM, token=""))


def test_a_request_that_names_a_shared_key_is_held_to_it() -> None:
    header = {"x-twilio-webhooks-signature-settings": "key=k9,algorithm=HMAC_SHA1"}
    assert not twilio().verify(posted(FORM, **header))
    assert not twilio(shared_keys={"k1": Secret("x")}).verify(posted(FORM, **header))
    unknown = {"x-twilio-webhooks-signature-settings": "algorithm=HMAC_MD5"}
    assert not twilio().verify(posted(FORM, **unknown))


def test_a_body_that_the_signature_does_not_cover_is_refused() -> None:
    """A captured URL and its signature would otherwise carry any body that is no form."""
    signature = RequestValidator(TOKEN).compute_signature(URL, {})
    request = Request("POST", URL, {"content-type": "application/json", "x-twilio-signature": signature}, b'{"a": "b"}')
    assert not twilio().verify(request)
    assert twilio().explain(request).startswith(f"the body is not a form, and {URL} has no bodySHA256 of it")


def test_what_json_leaves_empty_is_not_there() -> None:
    body = json.dumps({**FORM, "Body": None, "NumSegments": 2}).encode()
    [message] = twilio().parse(Request("POST", URL, {"content-type": "application/json"}, body))
    assert isinstance(message, TextMessage)
    assert (message.text, message.segments) == ("", 2)
    with pytest.raises(RemoteProtocolError, match="From"):
        twilio().parse(Request("POST", URL, {"content-type": "application/json"}, b'{"From": null}'))


def test_get_is_signed_by_its_url() -> None:
    url = f"{URL}?{urlencode(FORM)}"
    request = Request("GET", url, {"x-twilio-signature": RequestValidator(TOKEN).compute_signature(url, {})})
    assert twilio().verify(request)
    assert twilio().parse(request)[0].message_id == "SM1"


@pytest.mark.parametrize("public_url", [URL, "https://example.com", URL + "?tenant=1"])
def test_public_url_is_what_was_signed(public_url: str) -> None:
    signed = URL + "?tenant=1" if "tenant" in public_url else URL
    behind = replace(posted(FORM, signed), url="http://10.0.0.7:8000/hooks/twilio")
    assert not twilio().verify(behind)
    assert twilio(public_url=public_url).verify(behind)


def test_a_wrong_url_is_named_and_the_right_one_found() -> None:
    behind = replace(posted(FORM, URL + "?Body=secret"), url="http://example.com/hooks/twilio?Body=secret")
    explanation = twilio().explain(behind)
    assert (
        "signed for https://example.com/hooks/twilio?Body, but checked against http://example.com/hooks/" in explanation
    )
    assert "secret" not in explanation
    forwarded = replace(posted(FORM, **{"x-forwarded-host": "example.com"}), url="http://10.0.0.7:8000/hooks/twilio")
    assert "signed for https://example.com/hooks/twilio" in twilio().explain(forwarded)
    assert "hunter2" not in twilio(public_url="https://u:hunter2@example.com/").explain(behind)


def test_no_key_no_start() -> None:
    for settings in ({}, {"auth_token": Secret("")}, {"auth_token": (Secret(""),)}):
        with pytest.raises(ValueError, match="auth_token is missing"):
            TwilioSettings(on="web", path="/", **settings)
    with pytest.raises(ValueError, match="secret is missing"):
        GenericSettings(on="web", path="/")
    assert TwilioSettings(on="web", path="/", insecure=True).insecure


def test_a_text_is_parsed() -> None:
    fields = FORM | {"NumMedia": "2", "MediaUrl0": "https://m/0", "MediaContentType0": "image/png", "MediaUrl1": "m1"}
    [message] = twilio().parse(posted(fields))
    assert isinstance(message, TextMessage)
    assert (message.sender, message.recipient, message.message_id) == ("+447911123456", "+15005550006", "SM1")
    assert message.text == FORM["Body"]
    assert message.media == [
        {"url": "https://m/0", "content_type": "image/png"},
        {"url": "m1", "content_type": ""},
    ]
    assert message.segments == 2
    assert message.fields == fields


def test_a_receipt_is_a_status_of_the_conversation() -> None:
    fields = {"MessageSid": "SM9", "MessageStatus": "undelivered", "SmsStatus": "undelivered", "ErrorCode": "30005"}
    [status] = twilio().parse(posted(fields | {"From": "+15005550006", "To": "+447911123456"}))
    assert isinstance(status, DeliveryReceipt)
    assert (status.sender, status.recipient) == ("+447911123456", "+15005550006")
    assert (status.message_id, status.status, status.error) == ("SM9", "undelivered", "30005")


@pytest.mark.parametrize("missing", ["From", "To", "MessageSid"])
def test_a_form_without_its_fields_is_malformed(missing: str) -> None:
    with pytest.raises(RemoteProtocolError, match=missing) as caught:
        twilio().parse(posted({name: value for name, value in FORM.items() if name != missing}))
    assert caught.value.answer == 400


@pytest.mark.parametrize("given_id", ["", " ", "\t\u2003"])
@pytest.mark.parametrize("receipt", [False, True])
def test_an_empty_id_is_malformed_whoever_the_provider_is(given_id: str, receipt: bool) -> None:
    form = FORM | {"MessageSid": given_id} | ({"MessageStatus": "sent"} if receipt else {})
    said = {"from": "+1", "to": "+2", "text": "hi", "id": given_id} | ({"status": "sent"} if receipt else {})
    requests: list[tuple[Any, Request]] = [
        (twilio(), posted(form)),
        (generic(), Request("POST", URL, {}, json.dumps(said).encode())),
    ]
    for provider, request in requests:
        with pytest.raises(RemoteProtocolError, match="id is empty") as caught:
            provider.parse(request)
        assert caught.value.answer == 400


@pytest.mark.parametrize(
    ("text", "shown"),
    [("5 < 6 & 'x'", None), ("a\x00b\x0bc\ud800d\nè 👋", "abcd\nè 👋"), ("", "")],
)
def test_twiml_says_what_was_replied(text: str, shown: str | None) -> None:
    [message] = twilio().parse(posted(FORM))
    reply = Reply(message, text, ["https://m/?a=1&b=2"], sender='"&<')
    response = twilio().answer(ASKED, [reply])
    assert (response.status, response.content_type) == (200, "text/xml; charset=utf-8")
    [element] = ElementTree.fromstring(response.body)
    assert element.attrib == {"from": '"&<'}
    assert (element.findtext("Body") or "") == (text if shown is None else shown)
    assert element.findtext("Media") == "https://m/?a=1&b=2"


def test_twiml_without_a_reply_is_empty_and_a_long_one_is_split() -> None:
    assert twilio().answer(ASKED, []).body == b'<?xml version="1.0" encoding="UTF-8"?><Response></Response>'
    [message] = twilio().parse(posted(FORM))
    document = ElementTree.fromstring(twilio().answer(ASKED, [Reply(message, "x" * 3201, ["m"])]).body)
    assert [len(body.text or "") for body in document.iter("Body")] == [1530, 1530, 141]
    assert len(list(document.iter("Media"))) == 1


def test_an_emoji_is_two_characters_to_twilio() -> None:
    """Counted as one, 1600 of them would be refused as a whole (error 21617)."""
    [message] = twilio().parse(posted(FORM))
    document = ElementTree.fromstring(twilio().answer(ASKED, [Reply(message, "\U0001f44b" * 1000)]).body)
    assert [len(body.text or "") for body in document.iter("Body")] == [792, 208]


@given(st.text())
def test_any_text_is_well_formed_twiml(text: str) -> None:
    message = TextMessage("+1", "+2", "m", "")
    ElementTree.fromstring(twilio().answer(ASKED, [Reply(message, text, [text], text, text)]).body)


def test_the_generic_vector() -> None:
    vector = VECTORS["generic"]
    for signature in (vector["sha256_hex"], "sha256=" + vector["sha256_hex"], vector["sha256_hex"].upper()):
        request = Request("POST", URL, {"x-signature": signature}, vector["raw"].encode())
        assert generic(secret=Secret(vector["key"])).verify(request)
        assert not generic(secret=Secret("other")).verify(request)
        assert not generic(secret=Secret(vector["key"])).verify(replace(request, body=request.body + b" "))
    [message] = generic().parse(request)
    assert message == TextMessage("+447700900123", "+447700900999", "m-1", "hi", fields=json.loads(vector["raw"]))


def stamped(timestamp: str) -> Request:
    signature = hmac.new(b"s3cr3t", timestamp.encode() + b".{}", hashlib.sha256).hexdigest()
    return Request("POST", URL, {"x-signature": signature, "x-timestamp": timestamp}, b"{}")


@pytest.mark.parametrize(
    ("timestamp", "good"),
    [("1000", True), ("1300", True), ("1301", False), ("699", False), ("-1", False), ("1e3", False), ("9" * 20, False)],
)
def test_a_signed_timestamp_must_be_near(timestamp: str, good: bool) -> None:
    assert generic().verify(stamped(timestamp)) is good
    assert not generic().verify(replace(stamped(timestamp), headers={"x-signature": "00"}))


def test_a_timestamp_can_be_required_and_not_be_taken_away() -> None:
    request = stamped("1000")
    bare = {"x-signature": hmac.new(b"s3cr3t", b"{}", hashlib.sha256).hexdigest()}
    assert generic().verify(replace(request, headers=bare))
    assert not generic(require_timestamp=True).verify(replace(request, headers=bare))
    assert not generic().verify(replace(request, headers={"x-signature": request.headers["x-signature"]}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b'"x"',
        b"[" * 100_000,
        b'{"from": 1}',
        b"\xff",
        b'{"from":"\\ud800","to":"","id":"","text":""}',
        b'{"from":"","to":"","id":"","text":""}',
        b'{"status":"sent","from":"","to":"","id":""}',
        b'{"from":"","to":"","id":"1","text":"","media":1}',
        b'{"from":"","to":"","id":"1","text":"","media":[{}]}',
        b"[" + b"{}," * 100 + b"{}]",
    ],
)
def test_what_is_no_message_is_malformed(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        generic().parse(Request("POST", URL, {}, body))
    assert caught.value.answer == 400


def test_the_generic_answer_names_both_parties() -> None:
    message = TextMessage("+447911123456", "12345", "m", "hi")
    response = generic().answer(ASKED, [Reply(message, "yes", ["m"]), Reply(message, "no", to="+1", sender="X")])
    assert json.loads(response.body) == {
        "replies": [
            {"to": "+447911123456", "from": "12345", "text": "yes", "media": ["m"]},
            {"to": "+1", "from": "X", "text": "no"},
        ]
    }


@pytest.mark.parametrize("provider", [twilio(), generic()], ids=["twilio", "generic"])
def test_sign_is_the_twin_of_verify(provider: Any) -> None:
    message = TextMessage("+447911123456", "+15005550006", "m1", "hé & 👋", [{"url": "u", "content_type": "image/png"}])
    request = provider.sign(URL, message)
    assert provider.verify(request)
    [parsed] = provider.parse(request)
    assert replace(parsed, fields={}) == message


def test_the_provider_is_the_settings() -> None:
    assert provider_for(GenericSettings(on="web", path="/", insecure=True)).name == "generic"
    assert provider_for(TwilioSettings(on="web", path="/", insecure=True)).name == "twilio"


NEW = """
from dataclasses import dataclass
from typing import Literal

from protocols.sms import providers
from protocols.sms.providers.generic import Generic


@dataclass(frozen=True, kw_only=True)
class AcmeSettings:
    provider: Literal["acme"] = "acme"


class Acme(Generic):
    name = "acme"
    settings_class = AcmeSettings
    longest = 160
"""


def test_a_file_in_the_package_is_a_provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "acme.py").write_text(NEW)
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(tmp_path)])
    try:
        found = {each.name: each for each in providers._find()}
    finally:
        sys.modules.pop("protocols.sms.providers.acme", None)
    assert sorted(found) == ["acme", "generic", "twilio"]
    assert found["acme"].settings_class.__name__ == "AcmeSettings"


@pytest.mark.parametrize(
    ("address", "region"),
    [
        ("+447911123456", "GG"), ("+447400123456", "GB"), ("+14155550100", "US"), ("+14165550100", "CA"),
        ("+447700900123", None), ("+883510000000", None), ("68849", None), ("PAY247", None), ("", None),
        ("whatsapp:+14155550100", None), ("447400123456", None), ("+1", None), ("+\u0664\u0664740012345", None),
    ],
)  # fmt: skip
def test_the_country_of_a_sender(address: str, region: str | None) -> None:
    assert country(address) == region


def test_a_plus_that_a_form_ate_is_put_back() -> None:
    assert as_sent(" 447400123456") == "+447400123456"
    assert as_sent("VM-HDFC BK ") == "VM-HDFC BK"
    assert as_sent("a\nb\x00\ud800") == "ab"


HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "x-twilio-signature", "x-signature", "x-timestamp", "x-forwarded-host",
                     "x-twilio-webhooks-signature-settings"]),
    st.one_of(st.text(max_size=30), st.sampled_from(["application/json", "application/x-www-form-urlencoded"])),
)  # fmt: skip


@given(st.sampled_from(["GET", "POST"]), st.text(max_size=40), HEADERS, st.binary(max_size=200))
def test_any_request_is_false_or_malformed_and_nothing_else(
    method: str, url: str, headers: dict[str, str], body: bytes
) -> None:
    answers: set[Any] = set()
    for provider in (twilio(), generic()):
        request = Request(method, f"http://{url}", headers, body, provider.max_fields)
        for step in (provider.verify, provider.parse, provider.explain):
            try:
                step(request)
            except RemoteProtocolError as error:
                answers.add(error.answer)
    assert answers <= {400}
