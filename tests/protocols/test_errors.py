"""What counts as the end of a connection, however a framework wraps it."""

from typing import Any

import pytest
from caught import caught

from protocols.errors import Disconnected, is_disconnect


def wrapped() -> None:
    try:
        raise Disconnected("gone")
    except OSError as error:
        raise RuntimeError("a framework's own") from error


def replaced() -> None:
    try:
        raise Disconnected("gone")
    except OSError:
        raise RuntimeError("a framework's own")  # noqa: B904 -- as they write it


def mistaken() -> None:
    try:
        raise Disconnected("gone")
    except OSError:
        raise KeyError("of the clean-up")  # noqa: B904 -- a mistake


def grouped() -> None:
    raise BaseExceptionGroup("tasks", [caught(wrapped), Disconnected("gone")])


def mixed() -> None:
    raise BaseExceptionGroup("tasks", [Disconnected("gone"), ValueError("a crash")])


def collapsed(error: BaseException) -> Any:
    """Starlette takes the only error of a group out of it, which leaves the group as the context of its own member."""

    def raising() -> None:
        try:
            raise BaseExceptionGroup("tasks", [error])
        except BaseExceptionGroup as group:
            raise group.exceptions[0]  # noqa: B904 -- as it does

    return raising


@pytest.mark.parametrize(
    ("raising", "expected"),
    [
        (wrapped, True),
        (replaced, True),
        (grouped, True),
        (collapsed(Disconnected("gone")), True),
        (collapsed(caught(wrapped)), True),
        (mistaken, False),
        (mixed, False),
        (collapsed(ValueError("a crash")), False),
    ],
)
def test_a_disconnect_is_known_however_it_is_wrapped(raising: Any, expected: bool) -> None:
    assert is_disconnect(caught(raising)) is expected
