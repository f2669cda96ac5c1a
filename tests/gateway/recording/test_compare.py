"""What counts as another verdict, and what may have another reason than the code."""

import pytest

from gateway.recording.compare import Became, Difference, Past
from gateway.recording.entry import Entry


def entry(id_: str, verdict: str, *, attempt: int = 0, error: str = "") -> Entry:
    facts = {"id": id_, "verdict": verdict, "attempt": attempt, "error": error, "target": "shop.Orders"}
    return Entry(facts, {}, ())


@pytest.mark.parametrize(
    ("then", "now", "differs"),
    [
        (Became("200"), Became("200"), False),
        (Became("200"), Became("500"), True),
        (Became("200", target="a.A"), Became("200", target="b.B"), False),
        (Became("stored", "done"), Became("stored", "done"), False),
        (Became("stored", "done"), Became("stored", "dead"), True),
        (Became("stored", "next in 30 s"), Became("stored", "next in 5 s"), False),
        (Became("stored", "done"), Became("accepted"), True),
        (Became("stored"), Became("stored", "dead"), False),  # the recording ended before
    ],
)
def test_verdicts_differ(then: Became, now: Became, differs: bool) -> None:
    assert then.differs(now) is differs


def test_what_became_of_a_stored_message_is_found_by_its_id() -> None:
    entries = [
        entry("a", "stored"),
        entry("b", "stored"),
        entry("a", "next in 5 s", attempt=1, error="KeyError 'vat'"),
        entry("a", "done", attempt=2),
    ]
    past = Past(entries)
    assert past.of(entries[0]) == Became("stored", "next in 5 s", "shop.Orders", "KeyError 'vat'")
    assert str(past.of(entries[0])) == "stored, then next in 5 s (KeyError 'vat')"
    assert past.of(entries[1]) == Became("stored", "", "shop.Orders")
    assert [each.is_arrival for each in entries] == [True, True, False, False]


@pytest.mark.parametrize(
    ("left_out", "now", "doubtful"),
    [
        (("cookie",), Became("403"), True),
        (("cookie",), Became("302"), True),
        (("password",), Became("rejected, 550"), True),
        (("cookie",), Became("500", error="KeyError 'user'"), False),
        (("cookie",), Became("201"), False),
        ((), Became("403"), False),
        (("content",), Became("deferred", error="ValueError"), True),
    ],
)
def test_a_difference_may_be_there_because_something_was_left_out(
    left_out: tuple[str, ...],
    now: Became,
    doubtful: bool,
) -> None:
    assert Difference({}, left_out, Became("200"), now).is_doubtful is doubtful
