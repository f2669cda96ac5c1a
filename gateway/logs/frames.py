"""Finds the frame of a traceback that is the user's own code, and shortens file names."""

import os
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

_FOLDERS = (
    str(Path(__file__).parents[1]),
    str(Path(__file__).parents[2] / "protocols"),
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


def is_own(filename: str) -> bool:
    return not filename.startswith(_HIDDEN) and not any(folder in filename for folder in _PACKAGES)


def short(filename: str) -> str:
    """Return a file in the current folder relative to it, and others as they are."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
