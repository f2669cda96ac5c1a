"""The field Range, read as RFC 9110 has it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.scopes.http.static_files.ranges import MOST, NotSatisfiable, ranges_in


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-499", [range(500)]),
        ("bytes=500-999", [range(500, 1000)]),
        ("bytes=-500", [range(9500, 10000)]),
        ("bytes=9500-", [range(9500, 10000)]),
        ("bytes=0-0,-1", [range(1), range(9999, 10000)]),
        ("bytes= 0-0 , 5-6, ,", [range(1), range(5, 7)]),
        ("Bytes=5-6", [range(5, 7)]),
        ("bytes=9999-20000", [range(9999, 10000)]),
        ("bytes=-20000", [range(10000)]),
        ("bytes=10000-, 1-2", [range(1, 3)]),  # those behind the end are left out
        ("bytes=700-800,5-6", [range(700, 801), range(5, 7)]),  # in the order in which they were asked for
    ],
)
def test_ranges_that_are_sent(field: str, expected: list[range]) -> None:
    assert ranges_in(field, 10000) == expected


@pytest.mark.parametrize(
    "field",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=0-1,5-2",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=\u0661-\u0662",
        "bytes=" + "9" * 5000 + "-",
        "lines=0-1",
        "bytes=0-100,50-150",
        "bytes=0-,0-,0-",
        "bytes=" + ",".join(f"{n * 10}-{n * 10}" for n in range(MOST + 1)),
        "bytes=" + "," * 100000 + "0-1",
    ],
)
def test_ranges_that_are_ignored(field: str) -> None:
    assert ranges_in(field, 10000) == []


@pytest.mark.parametrize("field", ["bytes=10000-", "bytes=10000-10001,20000-", "bytes=-0"])
def test_ranges_behind_the_end(field: str) -> None:
    with pytest.raises(NotSatisfiable):
        ranges_in(field, 10000)


def test_an_empty_file_is_sent_whole() -> None:
    assert ranges_in("bytes=0-", 0) == ranges_in("bytes=-5", 0) == []


FIELDS = st.text("bytes=0123456789-, ", max_size=40).map("bytes={}".format) | st.binary(max_size=40).map(
    lambda raw: raw.decode("latin-1")
)


@settings(deadline=None)
@given(FIELDS, st.integers(0, 50))
def test_whatever_is_asked_for_lies_within_the_file_and_is_sent_once(field: str, size: int) -> None:
    try:
        found = ranges_in(field, size)
    except NotSatisfiable:
        return
    sent = [position for each in found for position in each]
    assert all(found)
    assert len(found) <= MOST
    assert len(set(sent)) == len(sent)
    assert set(sent) <= set(range(size))
