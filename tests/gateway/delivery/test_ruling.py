"""What becomes of a message after an attempt, by table."""

import pytest

from gateway.delivery.attempt import Outcome
from gateway.delivery.disposition import Ruling, in_words, rule
from gateway.delivery.policy import Policy

DONE = Outcome(None, [], [], None)
REJECTED = Outcome({"type": "email.reject"}, [], [], None)
FAILED = Outcome(None, [], [], RuntimeError("x"))
DEFERRED = Outcome({"type": "email.defer"}, [], [], None)


def wish(seconds: float) -> Outcome:
    return Outcome({"type": "email.defer", "retry_after": seconds}, [], [], None)


@pytest.mark.parametrize(
    ("policy", "outcome", "attempt", "ruling"),
    [
        (Policy(), DONE, 1, Ruling("done")),
        (Policy(attempts=1), REJECTED, 1, Ruling("done")),
        (Policy(), FAILED, 1, Ruling("again", 30)),
        (Policy(), FAILED, 2, Ruling("again", 60)),
        (Policy(backoff=1.0), FAILED, 30, Ruling("again", 3600)),
        (Policy(backoff=1.0), FAILED, 5000, Ruling("again", 3600)),
        (Policy(attempts=3), FAILED, 2, Ruling("again", 60)),
        (Policy(attempts=3), FAILED, 3, Ruling("dead")),
        (Policy(attempts=3), FAILED, 4, Ruling("dead")),
        (Policy(attempts=3), DEFERRED, 7, Ruling("again", 1920)),
        (Policy(), wish(5), 9, Ruling("again", 5)),
        (Policy(), wish(0), 1, Ruling("again", 0)),
        (Policy(on_error="dead-letter"), FAILED, 1, Ruling("dead")),
        (Policy(on_error="refuse"), FAILED, 1, Ruling("refused")),
        (Policy(on_error="refuse"), DEFERRED, 1, Ruling("again", 30)),
    ],
)
def test_rulings(policy: Policy, outcome: Outcome, attempt: int, ruling: Ruling) -> None:
    assert rule(policy, outcome, attempt) == ruling


def test_in_words() -> None:
    again = Ruling("again", 30)
    assert in_words(Policy(attempts=5), again, 2, stored=True) == "attempt 2 of 5, next in 30 s"
    assert in_words(Policy(attempts=5), again, 2, stored=False) == "attempt 2 of 5, next when its sender repeats it"
    assert in_words(Policy(), Ruling("dead"), 1, stored=True) == "attempt 1, now among the dead letters"
    assert in_words(Policy(), Ruling("refused"), 1, stored=False) == "attempt 1, refused"


def test_a_policy_that_asks_for_nothing_is_plain() -> None:
    assert Policy().plain
    assert not Policy(attempts=5).plain
    assert not Policy(inbox=True).plain
