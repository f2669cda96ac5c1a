"""Whatever a store gives back, an operator can look at it and take it out."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.cells import age
from gateway.cli.store import rendering
from gateway.console.kept.content import Content, file_of
from gateway.store import Message, codec

KEYS = st.sampled_from(["type", "body", "payload", "text", "media", "headers", "topic", "rcpt_to", "client", "status"])
TYPES = st.sampled_from(["email.receive", "mqtt.receive", "sms.receive", "sms.status"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(KEYS | st.text(), inner),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(KEYS, VALUES | TYPES, max_size=5)


def message(content: bytes, kind: str = "mqtt") -> Message:
    return Message("7f3a", kind, "default -> a.B", "k", 0.0, content, error="ValueError: 1")


def look(message: Message) -> tuple[str, bytes]:
    """All that the commands do with a message."""
    json.dumps(rendering.details_data(message))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", "\n".join(rendering.details(message, 0.0)))
    return file_of(message)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind(content: bytes) -> None:
    name, written = look(message(content))
    assert name in ("7f3a.damaged", "7f3a.json")
    assert name == "7f3a.json" or written == content


@given(MAPPINGS, st.lists(MAPPINGS, max_size=3), st.sampled_from(["email", "mqtt", "sms"]))
def test_scopes_and_events_of_any_kind(scope: dict[str, Any], events: list[dict[str, Any]], kind: str) -> None:
    name, written = look(message(codec.encode(scope, events), kind))
    if name.endswith(".json"):
        assert json.loads(written)["id"] == "7f3a"


@given(st.binary(), st.binary())
def test_a_mail_is_as_it_came(first: bytes, second: bytes) -> None:
    events = [{"type": "email.receive", "body": each, "more_body": each is first} for each in (first, second)]
    assert file_of(message(codec.encode({}, events), "email")) == ("7f3a.eml", first + second)


def test_an_undecodable_text_is_kept() -> None:
    content = codec.encode({"sender": "\udcff"}, [{"type": "sms.receive", "text": "\udcff", "media": []}])
    name, written = look(message(content, "sms"))
    assert (name, json.loads(written)["scope"]) == ("7f3a.json", {"sender": "\udcff"})


def test_what_is_nested_too_deep_is_damaged() -> None:
    deep: list[Any] = []
    for _ in range(480):
        deep = [deep]
    content = codec.encode({"x": deep}, [])
    assert look(message(content)) == ("7f3a.damaged", content)


def test_events_that_lack_what_they_are_for_are_damaged() -> None:
    with pytest.raises(ValueError, match="damaged"):
        Content.of(message(codec.encode({}, [{"type": "mqtt.receive"}])))


@pytest.mark.parametrize(
    ("seconds", "words"), [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (86400 * 400, "400d")]
)
def test_ages(seconds: float, words: str) -> None:
    assert age(seconds) == words
