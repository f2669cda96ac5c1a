"""Texts leave at the rate of their account, and of each sender number."""

from hypothesis import given
from hypothesis import strategies as st

from protocols.sms.rate import Rates


def slots(rates: Rates, senders: list[str], now: float = 100.0) -> list[float]:
    found = []
    for sender in senders:
        found.append(rates.slot(sender, now))
        rates.take(sender, now)
    return [round(slot - now, 6) for slot in found]


def test_a_seconds_worth_leaves_at_once_and_the_rest_at_the_rate() -> None:
    assert slots(Rates(4, 100), ["a"] * 8) == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1.0]


def test_a_slow_number_does_not_slow_others() -> None:
    assert slots(Rates(100, 1), ["a", "a", "a", "b", "b"]) == [0, 1, 2, 0, 1]


def test_a_rate_below_one_is_a_text_in_several_seconds() -> None:
    assert slots(Rates(100, 0.1), ["a", "a", "a"]) == [0, 10, 20]


def test_only_so_many_numbers_are_remembered() -> None:
    rates = Rates(10_000, 1)
    slots(rates, [str(number) for number in range(5000)])
    assert len(rates._senders) == Rates.most_senders


@given(rate=st.floats(0.5, 50), pauses=st.lists(st.floats(0, 3), max_size=60))
def test_in_no_second_leave_more_than_twice_the_rate(rate: float, pauses: list[float]) -> None:
    """A second's worth that was saved, and what comes within the second."""
    rates, now, left = Rates(rate, 10_000), 1000.0, []
    for pause in pauses:
        now += pause
        left.append(rates.slot("a", now))
        rates.take("a", now)
    for begin in left:
        assert sum(begin <= slot < begin + 1 for slot in left) <= 2 * max(rate, 1) + 2
