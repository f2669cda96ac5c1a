"""Where in the code the messages of each type were last sent from, for the record about one that nobody handles.

A message crosses layers as it is, so that those of Channels fit; what is noted here stays in this process.
"""

import sys
from types import CodeType, FrameType
from typing import Any

from gateway.frames import is_own, line_of, short

MOST = 1000
"""Types that are remembered. There are as many as the code names, unless it makes them from what peers send."""

_last: dict[str, tuple[CodeType, int]] = {}


def note(message: Any) -> None:
    """Note that the code that has called our caller sends ``message``. It costs two attributes; the line is found
    later."""
    _note(message, sys._getframe(2))  # noqa: SLF001 -- the public way, inspect.stack(), reads files


def note_own(message: Any) -> None:
    """Note the same if that code is the user's own. A layer is called by helpers, too, which have noted it, and by the
    event loop for a thread."""
    frame = sys._getframe(2)  # noqa: SLF001 -- as above
    if "type" in message and is_own(frame.f_code.co_filename):
        _note(message, frame)


def _note(message: Any, frame: FrameType) -> None:
    kind = message["type"]
    if kind not in _last and len(_last) >= MOST:
        _last.clear()
    _last[kind] = frame.f_code, frame.f_lasti


def origin(kind: Any) -> str:
    """Return the file and line that last sent a message of this type; empty if this process has sent none."""
    if not isinstance(kind, str) or kind not in _last:
        return ""
    code, instruction = _last[kind]
    return f"{short(code.co_filename)}:{line_of(code, instruction)}"
