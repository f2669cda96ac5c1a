"""Whose a line of code is."""

import asyncio
import email.parser
from pathlib import Path
from typing import Any

import pytest
from caught import caught

import gateway
import protocols.asgi
from gateway.frames import is_own, own_frame_of

HERE = Path(gateway.__file__).parent


@pytest.mark.parametrize(
    ("filename", "own"),
    [
        (str(HERE / "runtime" / "daemon.py"), False),
        (protocols.asgi.__file__, False),
        (asyncio.__file__, False),
        (email.parser.__file__, False),
        (pytest.__file__, False),
        ("<string>", False),
        (str(HERE.parent / "gateway_handlers.py"), True),
        (str(HERE.parent / "protocols_of_mine" / "mail.py"), True),
        (__file__, True),
        ("/usr/lib/python3/dist-packages/django/core/handlers/base.py", False),
        ("/home/ann/.local/lib/python3.11/site-packages/starlette/responses.py", False),
    ],
)
def test_own_is_what_is_neither_ours_nor_a_librarys(filename: str, own: bool) -> None:
    assert is_own(filename) is own


def own() -> None:
    raise LookupError("of the user's own code")


def in_a_group() -> BaseException:
    return BaseExceptionGroup("tasks", [ValueError("a library's"), caught(own)])


def as_a_cause() -> BaseException:
    error = RuntimeError("a library's")
    error.__cause__ = caught(own)
    return error


def as_its_own_context() -> BaseException:
    error = RuntimeError("taken out of its group")
    error.__context__ = BaseExceptionGroup("tasks", [error, caught(own)])
    return error


@pytest.mark.parametrize("made", [in_a_group, as_a_cause, as_its_own_context])
def test_the_users_own_line_is_found_in_what_a_library_has_wrapped(made: Any) -> None:
    """None of these has a frame of its own: a framework raised it."""
    frame = own_frame_of(made())
    assert frame is not None
    assert frame.name == "own"


def test_a_librarys_error_has_no_line_of_the_users() -> None:
    assert own_frame_of(RuntimeError("never raised")) is None
