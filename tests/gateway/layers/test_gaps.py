"""Numbers on messages, and what is missing by them."""

import pytest

from gateway.layers import gaps
from gateway.layers.gaps import Gaps, Numbers


def test_what_is_remembered_is_bounded_and_forgotten_with_its_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "MOST", 4)
    found = Gaps()
    for topic in range(10):
        for token in (b"a", b"b"):
            assert found.arrived(topic, token, 1) == 0
    assert list(found._last) == [(topic, token) for topic in (8, 9) for token in (b"a", b"b")]
    assert found._senders == {8: {b"a", b"b"}, 9: {b"a", b"b"}}
    found.left(9)
    found.left(1)
    assert (found.arrived(8, b"a", 5), found.missed) == (3, 3)
    found.left(8)
    assert (found._last, found._senders) == ({}, {})


def test_a_number_that_is_taken_back_is_given_again() -> None:
    numbers = Numbers()
    first = numbers.next("g")
    numbers.take_back("g")
    assert numbers.next("g") == first
    numbers.next("g")
    numbers.take_back("g")
    assert numbers.next("g") == (first[0], 2)
