"""Tells of a forgotten ``await`` by its line. Python's own warning names a coroutine, which may be a helper's own."""

import linecache
import re
import sys
from types import CoroutineType, FrameType

from gateway.frames import is_own, place_of, short

_UNAWAITED = re.compile(r"coroutine '([^']+)' was never awaited", re.MULTILINE)
_CALLERS = ("dispatch", "_call", "_await_within")
"""The functions of consumers that await a method; they keep it in the variable ``pending``."""


def forgotten_await(message: str, filename: str, line: int) -> str:
    """Return a sentence for Python's warning ``message``, which it gives where the coroutine is thrown away; empty for
    another warning."""
    if (found := _UNAWAITED.match(message)) is None:
        return ""
    if is_own(filename):
        code = linecache.getline(filename, line).strip()
        return f"{short(filename)}:{line}: await is forgotten, and nothing was done: {code}"
    return f"{_method() or found[1]}: await is forgotten before a call, which has done nothing"


def _method() -> str:
    """Return the user's own async method that has just returned to us; empty if there is none."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 -- inspect.stack() would read every file
    while frame is not None:
        awaited = frame.f_locals.get("pending") if frame.f_code.co_name in _CALLERS else None
        if isinstance(awaited, CoroutineType) and is_own(awaited.cr_code.co_filename):
            return f"{awaited.__qualname__} ({place_of(awaited)})"
        frame = frame.f_back
    return ""
