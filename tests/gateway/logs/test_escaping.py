"""What strangers write cannot write on an operator's terminal, whichever command shows it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import terminal
from gateway.logs.escaping import json_text, one_line, visible

NASTY = "\x00\x07\x1b[2J\x7f\x9b\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ufeff\ud800\U000e0041"


@pytest.mark.parametrize("character", NASTY.replace("[2J", ""))
def test_each_of_them_is_escaped(character: str) -> None:
    assert one_line(character).isascii()
    assert visible(character) == one_line(character)
    assert json_text(character).isascii()


@given(st.text())
def test_nothing_that_does_not_show_comes_through(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    assert visible(text).count("\n") == text.count("\n")
    told = json_text({"said": text})
    assert len(told.splitlines()) == 1
    assert json.loads(told) == {"said": text}
    told.encode()  # a lone surrogate is escaped


def test_commands_print_it_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command answers with `print_text` and `print_error`."""
    terminal.print_text(f"one\ttwo\n{NASTY}")
    terminal.print_error(NASTY)
    terminal.print_json({"said": NASTY})
    out, err = capsys.readouterr()
    assert out.startswith("one\ttwo\n\\x00\\x07\\x1b[2J")
    shown: list[Any] = [*out.replace("\t", "").split("\n"), *err.split("\n")]
    assert all(line.isprintable() for line in shown), ascii(out + err)
