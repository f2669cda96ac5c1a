"""The line of the application's own code at which a task waits, for the message of a timeout."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from gateway.frames import is_own


def whereabouts(task: "asyncio.Task[Any] | None") -> str:
    """``; it waits at chat.py:41, in receive``. Empty if that is not known: the handler may be on a thread."""
    frames = () if task is None else _frames(task.get_coro())
    own = [frame for frame in frames if is_own(frame.f_code.co_filename)]
    if not own:
        return ""
    frame = own[-1]
    return f"; it waits at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}, in {frame.f_code.co_name}"


def _frames(coroutine: Any) -> Iterator[FrameType]:
    """The frames of ``coroutine`` and of what it awaits, the outermost first."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            yield frame
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
