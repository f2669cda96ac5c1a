"""Addresses of the envelope: what is let in, in which form."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import RemoteProtocolError
from protocols.mail.addresses import (
    check_address,
    check_delimiters,
    parse_recipient,
    parse_sender,
    tag_of,
    unicode_form,
    without_tag,
)


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
        ("x" * 2000 + "@x.org", "x" * 2000 + "@x.org"),
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
        "x" * 2001 + "@x.org",
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
    with pytest.raises(ValueError, match=r"local part|domain|no @"):
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


@pytest.mark.parametrize("argument", ["TO:<>", "TO:<" + "b" * 2001 + "@x.org>", "TO:<a@x.org\0>", "TO:<a>"])
def test_refused_recipients(argument: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_recipient(argument)
    assert caught.value.answer == 553


def test_a_local_part_of_any_length_of_a_line_is_let_in() -> None:
    """The tokens of lists and of reply addresses are longer than the 64 octets of RFC 5321."""
    token = f"reply+{'t' * 300}@example.org"
    assert parse_recipient(f"TO:<{token}>") == (token, {})


@pytest.mark.parametrize(
    ("address", "delimiters", "tag", "without"),
    [
        ("help+bill7@example.org", "+", "bill7", "help@example.org"),
        ("help+a+b@example.org", "+", "a+b", "help@example.org"),
        ("help+@example.org", "+", "", "help@example.org"),
        ("help-a+b@example.org", "+-", "a+b", "help@example.org"),
        ("help-a@example.org", "+", None, ""),
        ("+a@example.org", "+", None, ""),
        ("+a+b@example.org", "+", "b", "+a@example.org"),
        ("help@example.org", "+", None, ""),
        ("help+a@example.org", "", None, ""),
        ('"a+b"@example.org', "+", None, ""),
        ("postmaster", "+", None, ""),
    ],
)
def test_tags(address: str, delimiters: str, tag: str | None, without: str) -> None:
    assert tag_of(address, delimiters) == tag
    assert tag is None or without_tag(address, tag) == without


@pytest.mark.parametrize("text", ["+", "+-", "", "_"])
def test_what_may_begin_a_tag(text: str) -> None:
    assert check_delimiters(text) == text


@pytest.mark.parametrize("text", ["@", "a", " ", "++++++++++", '"'])
def test_what_may_not_begin_a_tag(text: str) -> None:
    with pytest.raises(ValueError, match="cannot begin a tag"):
        check_delimiters(text)


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("a@example.org", "a@example.org"),
        ("a@xn--a.example", "a@xn--a.example"),
        ("postmaster", "postmaster"),
    ],
)
def test_addresses_as_people_write_them(address: str, written: str) -> None:
    assert unicode_form(address) == written


def test_postmaster_needs_no_domain() -> None:
    assert parse_recipient("TO:<Postmaster>") == ("postmaster", {})


@given(st.text())
def test_any_argument_is_a_path_or_a_refusal(argument: str) -> None:
    for parse in (parse_sender, parse_recipient):
        with contextlib.suppress(RemoteProtocolError):
            parse(argument)
