"""Addresses of the envelope: what is let in, in which form."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import RemoteProtocolError
from protocols.mail.addresses import check_address, parse_recipient, parse_sender


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann@Support.Example.ORG", "Ann@support.example.org"),
        ("postmaster", "postmaster"),
        ("POSTMASTER", "postmaster"),
        ("a+tag@x.org", "a+tag@x.org"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
        ("ünï@x.org", "ünï@x.org"),
        ('"a b"@x.org', '"a b"@x.org'),
        ('"a@b"@x.org', '"a@b"@x.org'),
        ("a@[127.0.0.1]", "a@[127.0.0.1]"),
        ("a@[IPv6:::1]", "a@[IPv6:::1]"),
        ("a..b@docomo.example", "a..b@docomo.example"),
        ("a@host_name.example", "a@host_name.example"),
        ("a@x.org.", "a@x.org"),
    ],
)
def test_addresses(text: str, expected: str) -> None:
    assert check_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a@",
        "@x.org",
        "a",
        "a b@x.org",
        "a\0@x.org",
        "a\r\n@x.org",
        "a@x.org\r\nBcc: b@x.org",
        "a@x.org\n",
        "a@x .org",
        "a@-x.org",
        "a@x..org",
        '"unclosed@x.org',
        "(comment)a@x.org",
        "a<b@x.org",
        "x" * 65 + "@x.org",
        "a@" + "x" * 64 + ".org",
        "a@" + "x." * 130 + "org",
        "a@" + "ü" * 300,
        "a@\ud800.org",
        "\udcff@x.org",
        "a@x.org@",
        "a\u2028b@x.org",
        "a\x85b@x.org",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"local part|domain"):
        check_address(text)


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = check_address(text)
    except ValueError:
        return
    assert not set(address) & set("\r\n\0")
    assert check_address(address) == address


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("FROM:<a@x.org>", ("a@x.org", {})),
        ("from: <a@x.org> SIZE=10 body=8BITMIME", ("a@x.org", {"SIZE": "10", "BODY": "8BITMIME"})),
        ("FROM:<>", ("", {})),
        ("FROM:<> AUTH=<> XOORG=example.com", ("", {"AUTH": "<>", "XOORG": "example.com"})),
        ("FROM:a@x.org", ("a@x.org", {})),
        ("FROM:a@x.org SIZE=1", ("a@x.org", {"SIZE": "1"})),
        ('FROM:<"a>b"@x.org>', ('"a>b"@x.org', {})),
        ("FROM:<" + "b" * 200 + "@x.org>", ("b" * 200 + "@x.org", {})),
    ],
)
def test_senders(argument: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parse_sender(argument) == expected


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("", 501),
        ("FROM", 501),
        ("FROM:", 501),
        ("TO:<a@x.org>", 501),
        ("FROM:<a@x.org", 501),
        ("FROM:<a@x.org>SIZE=1", 501),
        ("FROM:<<a@x.org>>", 501),
        ("FROM:a@x.org>", 501),
        ("FROM:<@relay.example:a@x.org>", 553),
        ("FROM:<a@x.org (comment)>", 553),
    ],
)
def test_refused_senders(argument: str, code: int) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_sender(argument)
    assert caught.value.answer == code


@pytest.mark.parametrize("argument", ["TO:<>", "TO:<" + "b" * 65 + "@x.org>", "TO:<a@x.org\0>", "TO:<a>"])
def test_refused_recipients(argument: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_recipient(argument)
    assert caught.value.answer == 553


def test_postmaster_needs_no_domain() -> None:
    assert parse_recipient("TO:<Postmaster>") == ("postmaster", {})


@given(st.text())
def test_any_argument_is_a_path_or_a_refusal(argument: str) -> None:
    for parse in (parse_sender, parse_recipient):
        with contextlib.suppress(RemoteProtocolError):
            parse(argument)
