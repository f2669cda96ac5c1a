"""Addresses of header fields, as programs write them."""

import copy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.mail.message.address import MAX_ADDRESSES, MAX_FIELD, Address, addresses


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ann@example.org", [("ann@example.org", "")]),
        ('"Lee, Ann" <ann@EXAMPLE.org>, Bob <bob@x.org>', [("ann@example.org", "Lee, Ann"), ("bob@x.org", "Bob")]),
        ("Lee, Ann <ann@x.org>", [("ann@x.org", "Lee, Ann")]),
        ("Team: a@x.org, B <b@x.org>;, c@x.org", [("a@x.org", ""), ("b@x.org", "B"), ("c@x.org", "")]),
        ("undisclosed-recipients:;", []),
        ("=?utf-8?Q?J=C3=B6rg,_M?= <j@bücher.example>", [("j@xn--bcher-kva.example", "Jörg, M")]),
        ('"=?utf-8?q?=C3=A9?=" <e@x.org>', [("e@x.org", "é")]),
        ("=?utf-8?B?QW5uIExlZSA8YW5uQHgub3JnPg==?=", [("ann@x.org", "Ann Lee")]),
        ("ann@x.org (Ann Lee)", [("ann@x.org", "Ann Lee")]),
        ('"john doe"@x.org', [('"john doe"@x.org', "")]),
        ('<"a>b"@x.org>', [('"a>b"@x.org', "")]),
        ("ann @ x.org", [("ann@x.org", "")]),
        ("'Ann' <ann@x.org>", [("ann@x.org", "Ann")]),
        ("<@a.org,@b.org:ann@c.org>", [("ann@c.org", "")]),
        ("<MAILER-DAEMON>", [("MAILER-DAEMON", "")]),
        ("<>", []),
        ("root", []),
        ("", []),
        ("<u@x.org, b <b@y.org>", [("u@x.org", ""), ("b@y.org", "b")]),
        ('"ann@x.org" <ann@x.org>', [("ann@x.org", "")]),
        ('"boss@bank.example" <thief@x.org>', [("thief@x.org", "boss@bank.example")]),
        ('Ann "The Lee" Bob <a@b.org>', [("a@b.org", "Ann The Lee Bob")]),
        ('"never closed <a@b.org>', [("a@b.org", '"never closed')]),
        (r'"a \"b\" c" <a@b.org>', [("a@b.org", 'a "b" c')]),
        ("a@x.org; b@x.org", [("a@x.org", ""), ("b@x.org", "")]),
        ("mailto:ann@x.org", [("ann@x.org", "")]),
        ("Ann ann@x.org", [("ann@x.org", "Ann")]),
        ("<ann@[IPv6:::1]>", [("ann@[IPv6:::1]", "")]),
        ("a..b@x.org", [("a..b@x.org", "")]),
        (f"{'v' * 300}@x.org", [(f"{'v' * 300}@x.org", "")]),
    ],
)
def test_what_programs_write(value: str, expected: list[tuple[str, str]]) -> None:
    assert [(str(each), each.name) for each in addresses(value.encode())] == expected


def test_bytes_without_a_label_are_in_the_charset_of_the_mail() -> None:
    assert addresses("Дмитрий <d@x.org>".encode("koi8-r"), "koi8-r")[0].name == "Дмитрий"


def test_both_forms_of_an_internationalized_domain() -> None:
    address = addresses("Bücher <info@Bücher.example>".encode())[0]
    assert (address, address.local, address.domain) == ("info@xn--bcher-kva.example", "info", "xn--bcher-kva.example")
    assert address.unicode == "info@bücher.example"
    assert address.formatted == "Bücher <info@xn--bcher-kva.example>"


def test_a_name_with_special_characters_is_quoted() -> None:
    assert Address("a@x.org", 'Lee, "Ann"').formatted == '"Lee, \\"Ann\\"" <a@x.org>'


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_keeps_its_name(copied: Callable[[Address], Address]) -> None:
    assert copied(Address("a@x.org", "Ann")).name == "Ann"


@given(st.binary(max_size=200) | st.text('<>()",;:@\\ =?a.[]\n\r\0é', max_size=200).map(str.encode))
def test_an_address_is_one_word_of_characters_that_can_be_sent(value: bytes) -> None:
    for address in addresses(value):
        assert address
        assert address.isprintable()
        assert address.name == " ".join(address.name.split())


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "piece", ['"', '("', '<"', '\\"', '"\\', "(", "<", "a,", "a@b,", "=?a?q?", "@", " @", ":", '"x"@']
)
def test_the_time_is_linear_and_the_number_bounded(piece: str) -> None:
    """The standard library's parser takes 9 s for 40 kB of some of these."""
    assert len(addresses(piece.encode() * MAX_FIELD)) <= MAX_ADDRESSES
