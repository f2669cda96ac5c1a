"""The checks that the events of several protocols share."""

from typing import Any

import pytest

from protocols.errors import LocalProtocolError
from protocols.events import LONGEST_RETRY_AFTER, one_line, retry_after


@pytest.mark.parametrize(
    ("given", "bounded"),
    [
        (None, None),
        (5, 5.0),
        (0.05, 0.05),
        (-1, 0.0),
        (float("inf"), LONGEST_RETRY_AFTER),
        (float("-inf"), 0.0),
        (10**400, LONGEST_RETRY_AFTER),
    ],
)
def test_retry_after_is_between_now_and_a_day(given: float | None, bounded: float | None) -> None:
    assert retry_after({"type": "email.defer", "retry_after": given}) == bounded


def test_retry_after_may_be_missing() -> None:
    assert retry_after({"type": "email.defer"}) is None


@pytest.mark.parametrize("given", [float("nan"), "5", True, [5], b"5"])
def test_a_retry_after_that_is_not_a_number_is_the_application_s_error(given: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"email\.defer: retry_after is .*; write a number of seconds"):
        retry_after({"type": "email.defer", "retry_after": given})


def test_a_long_wrong_value_is_cut() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        retry_after({"type": "email.defer", "retry_after": "5" * 10_000})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("given", "line"), [(None, ""), ("", ""), ("no\r\nroom", "no room"), (ValueError("full"), "full")]
)
def test_a_reason_is_one_line(given: Any, line: str) -> None:
    assert one_line({"type": "sms.reject", "reason": given}, "reason") == line
    assert one_line({"type": "sms.reject"}, "reason") == ""


@pytest.mark.parametrize("given", [b"no", 0, False, 1.5, [], ("no",), {}])
def test_a_reason_that_is_not_text_is_the_application_s_error(given: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"sms\.reject: reason is .*; write one line of text"):
        one_line({"type": "sms.reject", "reason": given}, "reason")
