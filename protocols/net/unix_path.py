"""Paths of Unix sockets, which are short."""

import errno
import os
from pathlib import Path

from protocols.units import LONGEST_UNIX_PATH


def address(path: Path) -> str:
    """Return ``path`` as the system gets it: from the current folder on, if that is shorter. Raises OSError with one
    sentence if it is too long."""
    text = min(os.path.abspath(path), os.path.relpath(path), key=len)
    if (length := len(os.fsencode(text))) > LONGEST_UNIX_PATH:
        said = f"its path has {length} bytes, and that of a Unix socket has {LONGEST_UNIX_PATH} at most: {text}"
        raise OSError(errno.ENAMETOOLONG, said)
    return text
