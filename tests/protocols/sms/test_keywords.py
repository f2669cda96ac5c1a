"""The first word of a text, as people and phones write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.sms.keywords import HELP, START, STOP, is_only_keyword, keyword_of
from protocols.sms.provider import DeliveryReceipt, TextMessage
from protocols.sms.scope import sms_scope


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("STOP", "STOP"),
        ("stop", "STOP"),
        ("  Stop!  ", "STOP"),
        ("“Stop.”", "STOP"),
        ("Stop,please", "STOP"),
        ("stop\nSent from my phone", "STOP"),
        ("\ufeffstop", "STOP"),
        ("ST\u200bOP", "STOP"),
        ("\u202eSTOP\u202c", "STOP"),
        ("\uff33\uff34\uff2f\uff30", "STOP"),  # full width
        ("- yes", "YES"),
        ("YES/NO", "YES"),
        ("1", "1"),
        ("1. red", "1"),
        ("opt-out now", "OPT-OUT"),
        ("don't", "DON'T"),
        ("stop-", "STOP"),
        ("stra\xdfe", "STRASSE"),
        ("arr\xeat", "ARR\xcaT"),
        ("arre\u0302t", "ARR\xcaT"),  # the accent as a character of its own
        ("iptal", "IPTAL"),
        ("\u0130PTAL", "IPTAL"),
        ("\u0131ptal", "IPTAL"),
        ("रोकें कृपया", "रोकें"),
        ("停止", "停止"),
        ("стоп.", "СТОП"),
        ("👍 thanks", "THANKS"),
        ("👍", "👍"),
        ("?!", "?!"),
        ("", ""),
        (" \n\t", ""),
        ("\u200b\u200d", "\u200d"),
    ],
)
def test_the_first_word_of_a_text(text: str, word: str) -> None:
    assert keyword_of(text) == word


@given(st.text())
def test_any_text_has_a_keyword_that_is_its_own_keyword(text: str) -> None:
    word = keyword_of(text)
    assert len(word) <= 256 * 18  # NFKC makes 18 characters of one at most
    assert word == "" or len(word.split()) == 1
    assert keyword_of(f"  {word} ") == word or not word.isascii()


def test_a_long_text_is_read_at_its_beginning_only() -> None:
    assert keyword_of("x" * 10_000_000) == "X" * 256
    assert keyword_of(" " * 256 + "stop") == ""


@pytest.mark.parametrize(
    ("text", "only"),
    [("Stop!", True), ("stop.", True), ("Cancel my order", False), ("stop it", False), ("stop 👍", True), ("", False)],
)
def test_a_text_is_an_opt_out_only_if_it_has_nothing_else(text: str, only: bool) -> None:
    assert is_only_keyword(text, STOP) is only


def test_no_word_means_two_things() -> None:
    assert len(STOP | START | HELP) == len(STOP) + len(START) + len(HELP)
    assert all(keyword_of(word) == word for word in STOP | START | HELP)


def test_a_text_has_its_keyword_in_the_scope_and_a_receipt_has_none() -> None:
    text = TextMessage("+447700900123", "+15005550006", "1", "Join us")
    receipt = DeliveryReceipt("+447700900123", "+15005550006", "1", "delivered")
    scopes = [sms_scope(each, provider="generic", listener="texts", state={}) for each in (text, receipt)]
    assert [scope["keyword"] for scope in scopes] == ["JOIN", ""]
