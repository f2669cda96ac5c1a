"""What a recording holds comes back as it was."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.recording.entry import Damaged, Entry
from gateway.recording.readable import read, readable

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.sampled_from(["utf8", "tuple", "dict", "object"]), inner)
        | st.dictionaries(st.integers(), inner)
    ),
    max_leaves=20,
)


@given(values)
def test_scopes_and_events_come_back_as_they_were(value: Any) -> None:
    assert read(json.loads(json.dumps(readable(value)))) == value


def test_a_person_can_read_it() -> None:
    assert readable({"body": b"hello", "client": ("::1", 1), "raw": b"\xff"}) == {
        "body": {"utf8": "hello"},
        "client": {"tuple": ["::1", 1]},
        "raw": {"base64": "/w=="},
    }


def test_an_object_that_json_has_no_form_for_is_none() -> None:
    assert readable(object()) == {"object": "object"}
    assert read({"object": "object"}) is None


def test_an_entry_has_no_secrets_and_no_state() -> None:
    scope = {"type": "http", "headers": [(b"cookie", b"id=hunter2")], "state": {"db": object()}}
    whole = Entry.of({"id": "7f3a"}, scope, [{"type": "http.request", "body": b"password=hunter2&a=1"}])
    entry = whole.without_secrets()
    line = json.dumps(entry.data())
    assert "hunter2" not in line
    again = Entry.read(line)
    assert again == entry
    assert again.scope == {"type": "http", "headers": [(b"cookie", b"*" * 10)]}
    assert again.left_out == ["cookie", "password"]


def test_the_facts_have_no_secrets() -> None:
    facts = {"id": "7f3a", "what": "sensors?token=hunter2", "error": 'ValueError {"password": "hunter2"}', "attempt": 0}
    entry = Entry.of(facts, {}, []).without_secrets()
    assert "hunter2" not in json.dumps(entry.data())
    assert entry.facts["id"] == "7f3a"


@pytest.mark.parametrize(
    "line",
    ["", "x", "[]", "{}", '{"arrival": 1}', '{"arrival": {}, "scope": {"utf8": 5}, "events": [], "left_out": []}'],
)
def test_a_line_that_is_no_entry(line: str) -> None:
    with pytest.raises(Damaged):
        Entry.read(line)
