"""Scope and events survive the store exactly, and no bytes make the decoder do anything but refuse."""

import contextlib
import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.codec import decode, encode

PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.binary()
TEXT = st.text(st.characters())  # surrogates too: a peer's undecodable bytes
VALUES = st.recursive(
    PLAIN | TEXT,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(TEXT | st.integers(0, 9), inner),
    max_leaves=20,
)
SCOPES = st.dictionaries(TEXT.filter(lambda key: key != "state"), VALUES)


def exactly(value: Any) -> Any:
    """``1 == 1.0 == True`` and ``(1,) == [1]`` must not hide a difference."""
    if isinstance(value, dict):
        return {(type(key), key): exactly(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [exactly(each) for each in value]
    return type(value), value


@given(SCOPES, st.lists(SCOPES, max_size=3))
def test_round_trip(scope: dict[str, Any], events: list[dict[str, Any]]) -> None:
    got, back = decode(encode(scope, events))
    assert exactly(got) == exactly(scope)
    assert exactly(back) == exactly(events)


def test_a_mail_comes_back() -> None:
    scope = {"type": "email", "client": ("::1", 25), "headers": [(b"subject", b"\xff")], "state": {"db": object()}}
    events = [{"type": "email.receive", "body": b"\x00" * 10, "more_body": False}]
    assert decode(encode(scope, events)) == ({key: scope[key] for key in scope if key != "state"}, events)


class QoS(enum.IntEnum):
    ONCE = 1


class Name(str):
    __slots__ = ()


def test_subclasses_come_back_as_what_they_are() -> None:
    scope, _ = decode(encode({"qos": QoS.ONCE, "name": Name("x"), "data": bytearray(b"y")}, []))
    assert exactly(scope) == exactly({"qos": 1, "name": "x", "data": b"y"})


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ({"extensions": {"tls": [1, object()]}}, "scope['extensions']['tls'][1]: a object cannot be stored"),
        ({"n": 2**64}, "scope['n']: "),
        ({"s": {1, 2}}, "scope['s']: a set cannot be stored"),
        ({"t": (1, (object(),))}, "scope['t'][1][0]: "),
    ],
)
def test_what_cannot_be_kept_is_named(scope: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^scope") as caught:
        encode(scope, [])
    assert str(caught.value).startswith(said)


def test_what_cannot_be_kept_in_an_event_is_named() -> None:
    with pytest.raises(ValueError, match=r"^events\[1\]\['x'\]: a complex cannot be stored"):
        encode({}, [{}, {"x": 1j}])


def test_no_depth_is_too_much_to_say_so() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="scope"):
        encode({"deep": deep}, [])


def test_tuples_as_deep_as_they_are_kept_come_back() -> None:
    deep: tuple[object, ...] = ()
    for _ in range(60):
        deep = (deep, 1)
    assert decode(encode({"deep": deep}, []))[0] == {"deep": deep}
    for _ in range(10):
        deep = (deep,)
    with pytest.raises(ValueError, match="a tuple cannot be stored so deep"):
        encode({"deep": deep}, [])


def read_or_refuse(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refuse(data)


@given(SCOPES, st.integers(0), st.integers(0, 7))
def test_any_flipped_bit_is_read_or_refused(scope: dict[str, Any], at: int, bit: int) -> None:
    data = bytearray(encode(scope, []))
    data[at % len(data)] ^= 1 << bit
    read_or_refuse(bytes(data))


def test_tuples_nested_without_end_are_refused() -> None:
    data = b""
    for _ in range(3000):
        data = b"\xc9" + len(data).to_bytes(4, "big") + b"\x01" + data
    with pytest.raises(ValueError, match="stored content cannot be read"):
        decode(data)
