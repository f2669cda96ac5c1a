"""What becomes of a message after an attempt, by table."""

import pytest

from gateway.delivery.attempt import Outcome
from gateway.delivery.disposition import Disposition, disposition_of, in_words
from gateway.delivery.policy import Policy

DONE = Outcome(None, [], [], None)
REJECTED = Outcome({"type": "email.reject"}, [], [], None)
FAILED = Outcome(None, [], [], RuntimeError("x"))
DEFERRED = Outcome({"type": "email.defer"}, [], [], None)


def wish(seconds: float) -> Outcome:
    return Outcome({"type": "email.defer", "retry_after": seconds}, [], [], None)


@pytest.mark.parametrize(
    ("policy", "outcome", "attempt", "disposition"),
    [
        (Policy(), DONE, 1, Disposition("done")),
        (Policy(attempts=1), REJECTED, 1, Disposition("done")),
        (Policy(), FAILED, 1, Disposition("again", 30)),
        (Policy(), FAILED, 2, Disposition("again", 60)),
        (Policy(backoff=1.0), FAILED, 30, Disposition("again", 3600)),
        (Policy(backoff=1.0), FAILED, 5000, Disposition("again", 3600)),
        (Policy(attempts=3), FAILED, 2, Disposition("again", 60)),
        (Policy(attempts=3), FAILED, 3, Disposition("dead")),
        (Policy(attempts=3), FAILED, 4, Disposition("dead")),
        (Policy(attempts=3), DEFERRED, 7, Disposition("again", 1920)),
        (Policy(), wish(5), 9, Disposition("again", 5)),
        (Policy(), wish(0), 1, Disposition("again", 0)),
        (Policy(on_error="dead-letter"), FAILED, 1, Disposition("dead")),
        (Policy(on_error="refuse"), FAILED, 1, Disposition("refused")),
        (Policy(on_error="refuse"), DEFERRED, 1, Disposition("again", 30)),
    ],
)
def test_rulings(policy: Policy, outcome: Outcome, attempt: int, disposition: Disposition) -> None:
    assert disposition_of(policy, outcome, attempt) == disposition


def test_in_words() -> None:
    again = Disposition("again", 30)
    assert in_words(Policy(attempts=5), again, 2, stored=True) == "attempt 2 of 5, next in 30 s"
    assert in_words(Policy(attempts=5), again, 2, stored=False) == "attempt 2 of 5, next when its sender repeats it"
    assert in_words(Policy(), Disposition("dead"), 1, stored=True) == "attempt 1, now among the dead letters"
    assert in_words(Policy(), Disposition("refused"), 1, stored=False) == "attempt 1, refused"


def test_a_policy_that_asks_for_nothing_is_plain() -> None:
    assert Policy().plain
    assert not Policy(attempts=5).plain
    assert not Policy(inbox=True).plain
