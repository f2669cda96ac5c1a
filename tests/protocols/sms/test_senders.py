"""What kind of party an address is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.sms.provider import TextMessage
from protocols.sms.scope import sms_scope
from protocols.sms.senders import as_sent, e164, sender_type, with_sign


@pytest.mark.parametrize(
    ("address", "type_", "number"),
    [
        ("+447700900123", "number", "+447700900123"),
        ("+44 (7700) 900-123", "number", "+447700900123"),
        ("00447700900123", "number", "+447700900123"),
        ("07700900123", "number", None),
        ("6505551212", "number", None),
        ("(650) 555-1212", "number", None),
        ("+390236618300", "number", "+390236618300"),
        ("68849", "shortcode", None),
        ("12345678", "shortcode", None),
        ("HDFCBK", "alphanumeric", None),
        ("VM-HDFCBK", "alphanumeric", None),
        ("AT&T", "alphanumeric", None),
        ("PAY247", "alphanumeric", None),
        ("AB12345", "alphanumeric", None),
        ("Crédit Ag.", "alphanumeric", None),
        ("1-800-FLOWERS", "other", None),  # 13 characters, which no name has
        ("whatsapp:+14155550100", "other", None),
        ("whatsapp:US.1234", "other", None),
        ("a@example.org", "other", None),
        ("a@b.c", "other", None),
        ("", "other", None),
        ("+", "other", None),
        ("12", "other", None),
        ("+4477009001234567", "other", None),  # E.164 ends at 15 digits
        ("+447700900123 ext 5", "other", None),
        ("\uff14\uff14\uff17\uff17\uff10\uff10", "other", None),  # full-width digits look like another number
    ],
)
def test_an_address_is_classified_before_it_is_parsed(address: str, type_: str, number: str | None) -> None:
    assert (sender_type(address), e164(address)) == (type_, number)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("447700900123", "+447700900123"),
        (" 447700900123", "+447700900123"),
        ("+447700900123", "+447700900123"),
        ("68849", "68849"),
        ("12345678", "12345678"),
        ("07700900123", "07700900123"),
        ("HDFCBK", "HDFCBK"),
    ],
)
def test_a_missing_sign_is_added_to_international_numbers_only(given_: str, expected: str) -> None:
    assert with_sign(given_) == expected


@given(st.text(max_size=300))
def test_any_text_has_a_type_and_only_numbers_have_an_e164(address: str) -> None:
    number, type_ = e164(as_sent(address)), sender_type(as_sent(address))
    assert type_ in ("number", "shortcode", "alphanumeric", "other")
    assert number is None or (type_ == "number" and number[1:].isdecimal() and len(number) <= 16)


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("+44 7911 123456", ("number", "+447911123456", "GG")),
        ("PAY247", ("alphanumeric", None, None)),
        ("68849", ("shortcode", None, None)),
    ],
)
def test_the_scope_says_what_the_sender_is(sender: str, expected: tuple[Any, ...]) -> None:
    scope = sms_scope(TextMessage(sender, "12345", "1", "hi"), provider="generic", listener="texts", state={})
    assert (scope["sender_type"], scope["sender_e164"], scope["country"]) == expected
    assert scope["sender"] == sender
