"""No secret of a peer is in a recording, and everything else is."""

import json
from typing import Any

import pytest

from gateway.recording.secrets import Secrets

SECRET = "hunter2-and-more"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ([(b"authorization", f"Bearer {SECRET}".encode())], "authorization"),
        ([(b"proxy-authorization", SECRET.encode())], "proxy-authorization"),
        ([(b"cookie", f"sessionid={SECRET}".encode())], "cookie"),
        ([(b"x-twilio-signature", SECRET.encode())], "x-twilio-signature"),
        ([(b"X-Api-Key", SECRET.encode())], "x-api-key"),
        ({"type": "mqtt.connect", "password": SECRET.encode()}, "password"),
        ({"properties": {"authentication_data": SECRET.encode()}}, "authentication_data"),
        ({"properties": {"user_property": [("token", SECRET)]}}, "token"),
        ({"query_string": f"a=1&access_token={SECRET}&b=2".encode()}, "access_token"),
        ({"fields": {"ApiKey": SECRET}}, "apikey"),
        ({"tokens": [SECRET, {"deep": SECRET}]}, "tokens"),
        ({"body": f"user=ann&password={SECRET}".encode()}, "password"),
        ({"body": f'{{"user": "ann", "new_password" : "{SECRET}"}}'.encode()}, "new_password"),
        ({"text": f'{{"token":"\\"{SECRET}"}}'}, "token"),
        ({"body": f"Reset it: https://shop.example/reset?token={SECRET}\r\n".encode()}, "token"),
        (
            {"body": f'--x\r\nContent-Disposition: form-data; name="password"\r\n\r\n{SECRET}\r\n--x--'.encode()},
            "password",
        ),
        ({"body": bytearray(f"secret={SECRET}".encode())}, "secret"),
        ({"body": f"user=ann&password=it's <my> {SECRET}&b=2".encode()}, "password"),
        ({"body": f"password='{SECRET}\n".encode()}, "password"),
        ({"body": f'{{"tokens": ["a", "{SECRET}"], "b": 2}}'.encode()}, "tokens"),
        ({"body": f'{{"secret": {{"value": ["]", "{SECRET}"]}}}}'.encode()}, "secret"),
        ({"text": f'{{"token": ["{SECRET}'}, "token"),
        ({"body": rb'{"Message": "{\"password\": \"\\\"%s\"}"}' % SECRET.encode()}, "password"),
        (
            {"body": f"--x\r\nContent-Disposition: form-data; name=password\r\n\r\n{SECRET}\r\n--x--".encode()},
            "password",
        ),
        ({"query_string": f"jsessionid={SECRET}".encode()}, "jsessionid"),
        ({"query_string": f"PHPSESSID={SECRET}".encode()}, "phpsessid"),
        ({"body": f'{{"passcode": "{SECRET}", "a": 1}}'.encode()}, "passcode"),
        ({"query_string": f"bearer={SECRET}".encode()}, "bearer"),
        ([(b"ocp-apim-subscription-key", SECRET.encode())], "ocp-apim-subscription-key"),
        ([(b"x-access-key", SECRET.encode())], "x-access-key"),
        ([(b"cf-access-jwt-assertion", SECRET.encode())], "cf-access-jwt-assertion"),
        ({"query_string": f"a=1&sig={SECRET}&b=2".encode()}, "sig"),
        ({"query_string": f"X-Auth={SECRET}".encode()}, "x-auth"),
        ([(b"x-otp-code", SECRET.encode())], "x-otp-code"),
        ({"body": f"user=ann&pin={SECRET}".encode()}, "pin"),
        ({"body": f"code={SECRET}&grant_type=authorization_code".encode()}, "code"),
        ({"body": f'{{"otp": "{SECRET}", "verificationCode": "", "author": "ann"}}'.encode()}, "otp"),
        ({"body": f"<login><password>{SECRET}</password><user>ann</user></login>".encode()}, "password"),
        ({"body": f'<w:Password Type="text"><![CDATA[{SECRET}]]></w:Password>'.encode()}, "w:password"),
        ({"body": f"<login user='ann' pin='{SECRET}'/>".encode()}, "pin"),
        ({"path": f"/reset/MjQ/c5k2a1-{SECRET}/", "raw_path": f"/reset/MjQ/c5k2a1-{SECRET}/".encode()}, "reset"),
        ({"what": f"GET /api/password-resets/c5k2a1-{SECRET}"}, "password-resets"),
        ({"text": f"Reset it: https://shop.example/activate/c5k2a1-{SECRET} within a day"}, "activate"),
    ],
)
def test_a_secret_is_left_out_and_named(value: Any, name: str) -> None:
    secrets = Secrets()
    kept = secrets.left_out(value)
    assert SECRET not in repr(kept)
    assert secrets.names == {name}


@pytest.mark.parametrize(
    "value",
    [
        [(b"content-type", b"text/plain"), (b"dkim-signature", b"v=1; b=abc"), (b"arc-message-signature", b"i=1")],
        {"authentication": {"spf": "pass"}, "client": ("127.0.0.1", 1234), "session_present": False},
        {"payload": b'{"celsius": 21.5, "author": "ann"}', "body": b"\xff\xfe\x00", "text": "hello & goodbye"},
        {"password": None, "token": "", "size": 5},
        [(b"sec-websocket-key", b"vZQUorN5jOVgJWTFdyY11Q==")],
        {"path": "/password/reset/", "body": b"country_code=DE&author=ann&design=flat&author_pinned=yes", "code": 1006},
        {"path": "/orders/9f1c7a52-0b1e-4c7e-9d58-2a1d3c4b5e6f", "topic": "devices/token/12"},
        {"body": b'{"max_tokens": 4096, "code": 404, "postal_code": 10115, "pin": null, "token_count": 10000}'},
        {"body": b"<tokens>\n  <id>5</id>\n</tokens><auth/><p class='code'>DE</p>"},
        {"payload": b'{"max_tokens": 5, "list": ["a"], "password": null}', "text": "a=1 & b='2' <c>"},
    ],
)
def test_what_is_no_secret_stays(value: Any) -> None:
    secrets = Secrets()
    assert secrets.left_out(value) == value
    assert not secrets.names


def test_a_secret_in_two_pieces_of_a_body_is_left_out() -> None:
    pieces = [b"user=ann&passw", b"ord=hun", b"", b"ter2&b=1"]
    events = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
    secrets = Secrets()
    kept = secrets.events_left_out([*events, {"type": "http.disconnect"}])
    assert [each.get("body") for each in kept] == [b"user=ann&passw", b"ord=***", b"", b"****&b=1", None]
    assert secrets.names == {"password"}


def test_the_rest_of_an_array_is_as_it_was() -> None:
    text = '{"tokens": [{"id": 5, "of": "\u00fc\\""}, "x"], "name": "\u00fc"}'
    kept = {"tokens": [{"id": 5, "of": "***"}, "*"], "name": "\u00fc"}
    assert json.loads(Secrets().left_out(text)) == kept


def test_a_number_of_json_stays_one() -> None:
    kept = Secrets().left_out('{"pin": 4711, "new_password":-123456,"code":  987654, "celsius": 21.5, "code": 12345.5}')
    assert kept == '{"pin": 1111, "new_password":-111111,"code":  111111, "celsius": 21.5, "code": 12345.5}'


@pytest.mark.parametrize("body", [b"user=ann&password=hunter2", b'{"tokens": ["hunter2", {"a": "\xc3\xbc"}]}'])
def test_lengths_stay(body: bytes) -> None:
    assert len(Secrets().left_out({"body": body})["body"]) == len(body)


@pytest.mark.parametrize(
    "text",
    [
        '"password' * 30_000,
        "&token" * 50_000,
        '"token":"' + "\\" * 300_000,
        'name="token"\r\n' * 30_000,
        " token" * 50_000 + "=",
        '"token":[' * 30_000,
        '"token":["' + '\\"' * 100_000,
        '"token":[' + '"' * 100_000,
        '\\"token\\":\\"' * 30_000,
        "token=" * 50_000,
        "&token=" * 50_000,
        "/token" * 50_000,
        "/token/" + "a/" * 100_000,
        "/token/" + "a" * 300_000,
        "<token " * 40_000,
        "<token>" * 40_000,
        ' token="' * 40_000,
        '"pin":' + "1" * 300_000,
        "-pin" * 80_000,
        "x" * 300_000 + "-auth-",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """A search that goes back and forth would take minutes here."""
    Secrets().left_out({"text": text, "body": text.encode()})
