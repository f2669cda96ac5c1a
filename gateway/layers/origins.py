"""Where in the code the messages of each type were last sent from, for the record about one that nobody handles.

A message crosses layers as it is, so that those of Channels fit; what is noted here stays in this process.
"""

import sys
from types import CodeType, FrameType
from typing import Any

from gateway.frames import is_own, line_of, short

MOST = 1000
"""Types that are remembered. There are as many as the code names, unless it makes them from what peers send."""
DEPTH = 3
"""Frames of ours between a layer and the user's own code."""

_last: dict[str, tuple[CodeType, int]] = {}


def note(message: Any) -> None:
    """Note which line of the user's own code sends ``message``: the one that has called our caller, nearly always. It
    costs two attributes; the line is found later.

    A helper and the layer below it both do. From a thread the layer is called by the event loop, and finds nobody.
    """
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 -- the public way, inspect.stack(), reads files
    for _ in range(DEPTH):
        if frame is None:
            return
        if is_own(frame.f_code.co_filename):
            kind = message.get("type")
            if not isinstance(kind, str):  # a layer takes what it gets
                return
            if kind not in _last and len(_last) >= MOST:
                _last.clear()
            _last[kind] = frame.f_code, frame.f_lasti
            return
        frame = frame.f_back


def origin(kind: Any) -> str:
    """Return the file and line that last sent a message of this type; empty if this process has sent none."""
    if not isinstance(kind, str) or kind not in _last:
        return ""
    code, instruction = _last[kind]
    return f"{short(code.co_filename)}:{line_of(code, instruction)}"
