"""Each line of docs/guarantees.md names what shows it, and that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (?!failure \|)(?P<failure>[^|]+) \|.*\| (?P<shown>[^|]*) \|$", re.MULTILINE)
LINES = [(found["failure"], found["shown"]) for found in ROW.finditer((ROOT / "docs" / "guarantees.md").read_text())]


def test_the_table_is_read() -> None:
    assert len(LINES) > 10


@pytest.mark.parametrize(("failure", "shown"), LINES, ids=[failure for failure, _ in LINES])
def test_what_shows_it_is_there_once(failure: str, shown: str) -> None:
    named = re.findall(r"`([^`]+)`", shown)
    assert named, f"nothing shows: {failure}"
    tests = [f"/{path}" for path in (ROOT / "tests").rglob("*.py")]
    found = {name: sum(path.endswith(f"/{name}") for path in tests) for name in named}
    assert found == dict.fromkeys(named, 1)
