"""Finds the user's own code: the frame of a traceback, the line of a function; and shortens file names."""

import inspect
import os
import sysconfig
import traceback
from functools import lru_cache
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

_FOLDERS = (
    str(Path(__file__).parent),
    str(Path(__file__).parents[1] / "protocols"),
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    sysconfig.get_path("platlib"),
)
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
"""Also those of another Python, of the user or of the distribution."""
_HIDDEN = (*(f"{folder}{os.sep}" for folder in _FOLDERS), "<")
"""Frames from here are not the user's own; the last is code without a file, such as a dataclass's __init__."""


def own_frame(trace: TracebackType | None) -> traceback.FrameSummary | None:
    """Return the innermost frame that is the user's own code."""
    frames = [frame for frame in traceback.extract_tb(trace) if is_own(frame.filename)]
    return frames[-1] if frames else None


def own_frame_of(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame of ``error`` that is the user's own code. If there are only a library's frames, look
    in what it wraps: the members of a group, its cause, its context."""
    pending, seen = [error], set()
    while pending:
        each = pending.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        if frame := own_frame(each.__traceback__):
            return frame
        pending += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        pending += [more for more in (each.__cause__, each.__context__) if more is not None]
    return None


@lru_cache(maxsize=4096)
def is_own(filename: str) -> bool:
    return not filename.startswith(_HIDDEN) and not any(folder in filename for folder in _PACKAGES)


def short(filename: str) -> str:
    """Return a file in the current folder relative to it, and others as they are."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


def line_of(code: CodeType, instruction: int) -> int:
    """Return the line of the instruction at this offset (a frame's ``f_lasti``)."""
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end and line)
    return next(lines, code.co_firstlineno)


def place_of(called: Any) -> str:
    """Return the file and line where a function (of a decorator, the wrapped one) or a coroutine's function begins."""
    code = getattr(called, "cr_code", None) or getattr(inspect.unwrap(called), "__code__", None)
    return f"{short(code.co_filename)}:{code.co_firstlineno}" if code is not None else "an unknown place"
