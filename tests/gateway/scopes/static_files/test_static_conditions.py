"""Conditional requests, in the order of RFC 9110, 13.2.2."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.scopes.http.static_files.conditions import Validators, status_of, takes_range

CURRENT = Validators('"a-1"', 784_111_777)
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"if-none-match": '"a-1"'}, 304),
        ({"if-none-match": 'W/"a-1"'}, 304),
        ({"if-none-match": '"x", "a-1"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"'}, 200),
        ({"if-none-match": "a-1"}, 200),
        ({"if-none-match": ""}, 200),
        ({"if-modified-since": DATE}, 304),
        ({"if-modified-since": AFTER}, 304),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 304),
        ({"if-modified-since": "Sun Nov  6 08:49:37 1994"}, 304),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-none-match": '"x"', "if-modified-since": DATE}, 200),  # the tag decides, and the date is not read
        ({"if-match": '"a-1"'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": 'W/"a-1"'}, 412),  # compared strongly
        ({"if-match": '"x"'}, 412),
        ({"if-match": '"x"', "if-none-match": '"a-1"'}, 412),
        ({"if-match": '"a-1"', "if-none-match": '"a-1"'}, 304),
        ({"if-match": '"a-1"', "if-unmodified-since": BEFORE}, 200),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": DATE}, 200),
        ({"if-unmodified-since": "never"}, 200),
    ],
)
def test_status(fields: dict[str, str], status: int) -> None:
    assert status_of(fields, CURRENT) == status


@pytest.mark.parametrize(
    ("condition", "taken"),
    [('"a-1"', True), ('W/"a-1"', False), ('"x"', False), (DATE, True), (AFTER, False), (BEFORE, False), ("", False)],
)
def test_ranges_are_for_the_very_version(condition: str, taken: bool) -> None:
    assert takes_range({"if-range": condition}, CURRENT) is taken
    assert takes_range({}, CURRENT)


FIELDS = st.dictionaries(
    st.sampled_from(["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"]),
    st.binary(max_size=50).map(lambda raw: raw.decode("latin-1"))
    | st.sampled_from([DATE, BEFORE, '"a-1"', "*", "Sun, 06 Nov 99999999999 08:49:37 GMT"]),
)


@settings(deadline=None)
@given(FIELDS)
def test_any_text_is_an_answer(fields: dict[str, str]) -> None:
    assert status_of(fields, CURRENT) in (200, 304, 412)
    assert takes_range(fields, CURRENT) in (True, False)
