"""What an application may wish for when it defers."""

from typing import Any

import pytest

from protocols.asgi import LONGEST_WISH, wish_of
from protocols.errors import LocalProtocolError


@pytest.mark.parametrize(
    ("given", "bounded"),
    [
        (None, None),
        (5, 5.0),
        (0.05, 0.05),
        (-1, 0.0),
        (float("inf"), LONGEST_WISH),
        (float("-inf"), 0.0),
        (10**400, LONGEST_WISH),
    ],
)
def test_a_wish_is_between_now_and_a_day(given: float | None, bounded: float | None) -> None:
    assert wish_of({"type": "email.defer", "retry_after": given}) == bounded


def test_none_is_given() -> None:
    assert wish_of({"type": "email.defer"}) is None


@pytest.mark.parametrize("given", [float("nan"), "5", True, [5], b"5"])
def test_what_is_no_number_is_the_application_s_error(given: Any) -> None:
    with pytest.raises(LocalProtocolError, match="retry_after"):
        wish_of({"type": "email.defer", "retry_after": given})
