"""Whose a line of code is."""

import asyncio
import email.parser
from pathlib import Path

import pytest

import gateway
import protocols.asgi
from gateway.frames import is_own

HERE = Path(gateway.__file__).parent


@pytest.mark.parametrize(
    ("filename", "own"),
    [
        (str(HERE / "daemon.py"), False),
        (protocols.asgi.__file__, False),
        (asyncio.__file__, False),
        (email.parser.__file__, False),
        (pytest.__file__, False),
        ("<string>", False),
        (str(HERE.parent / "gateway_handlers.py"), True),
        (str(HERE.parent / "protocols_of_mine" / "mail.py"), True),
        (__file__, True),
    ],
)
def test_own_is_what_is_neither_ours_nor_a_librarys(filename: str, own: bool) -> None:
    assert is_own(filename) is own
