"""SMS are counted and cut as networks do it: GSM-7 and UCS-2, their extension tables and surrogate pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.sms.segments import ascii_punctuation, is_gsm7, segments


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("", [0]),
        ("a" * 160, [160]),
        ("a" * 161, [153, 8]),
        ("a" * 306, [153, 153]),
        ("a" * 307, [153, 153, 1]),
        ("€" * 80, [80]),
        ("€" * 81, [76, 5]),  # 152 units: the escape and its character stay together
        ("a" * 152 + "€" + "a" * 10, [152, 11]),
        ("中" * 70, [70]),
        ("中" * 71, [67, 4]),
        ("\U0001f44b" * 35, [35]),
        ("\U0001f44b" * 36, [33, 3]),  # 66 units: both halves stay together
        ("中" * 66 + "\U0001f44b" + "中" * 5, [66, 6]),
        ("a" * 100 + "\u2019", [67, 34]),  # one curly quote makes it UCS-2
    ],
)
def test_a_text_is_cut_where_the_network_cuts_it(text: str, lengths: list[int]) -> None:
    assert [len(piece) for piece in segments(text)] == lengths
    assert "".join(segments(text)) == text


def test_the_whole_of_gsm_7_is_127_characters_and_ten_in_the_extension_table() -> None:
    """3GPP TS 23.038, 6.2.1, without the escape itself."""
    known = [chr(number) for number in range(0x10000) if is_gsm7(chr(number))]
    assert len(known) == 127 + 10
    assert {character for character in known if len(segments(character * 81)) == 2} == set("\f^{}\\[~]|€")
    assert "ç" not in known
    assert "`" not in known


@given(st.text())
def test_no_piece_is_longer_than_an_sms(text: str) -> None:
    pieces = segments(text)
    assert "".join(pieces) == text
    longest = 160 if is_gsm7(text) else 70
    assert all(len(piece.encode("utf-16-le", "surrogatepass")) // 2 <= longest for piece in pieces)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\u201cIt\u2019s 5\u202fpm \u2013 come\u2026\u201d", '"It\'s 5 pm - come..."'),
        ("“中”", "“中”"),
        ("naïve", "naïve"),
        ("plain", "plain"),
        ("zero\u200bwidth", "zerowidth"),
    ],
)
def test_punctuation_becomes_ascii_only_where_that_makes_the_text_gsm_7(text: str, plain: str) -> None:
    assert ascii_punctuation(text) == plain
