"""A message that one of its routes has given up, and kept as a dead letter."""

import pytest

from protocols.mail.verdict import Accept, Defer, Verdicts, combined, verdict_of

FAILED = {"type": "email.accept", "failed": True}
ACCEPTED = {"type": "email.accept"}
DEFERRED = {"type": "email.defer"}
REJECTED = {"type": "email.reject", "code": 550, "reason": ""}


@pytest.mark.parametrize("others", [[], [ACCEPTED], [ACCEPTED, REJECTED], [REJECTED]])
def test_a_message_that_has_failed_for_one_recipient_has_failed(others: list[dict[str, object]]) -> None:
    for events in ([FAILED, *others], [*others, FAILED]):
        assert verdict_of(combined(events)) == Accept(failed=True)


def test_a_message_that_one_recipient_defers_comes_again_all_the_same() -> None:
    assert isinstance(verdict_of(combined([FAILED, DEFERRED])), Defer)


def test_a_verdict_for_some_recipients_keeps_that_it_failed() -> None:
    verdicts = Verdicts(["a@x", "b@x"])
    verdicts.add({**FAILED, "rcpt_to": ["b@x"]})
    verdicts.add(ACCEPTED)
    assert verdicts.combined == Accept(failed=True)
    assert str(verdicts.of("b@x")) == "failed, kept as a dead letter"
