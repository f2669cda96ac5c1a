"""The database files that this process has open.

Nobody else in the process may open one and close it again: with that, the process loses the locks that SQLite has on
the file (fcntl(2)), and the next program that closes the database removes the log that this process still writes.
"""

import os
from collections import Counter
from pathlib import Path

File = tuple[int, int]
"""Device and inode: a file has them under whatever name."""

_held: Counter[File] = Counter()


def file_at(path: Path) -> File | None:
    """Return which file is at ``path``; None if there is none."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def hold(file: File | None) -> None:
    """Note that this process has ``file`` open, once more."""
    if file is not None:
        _held[file] += 1


def release(file: File | None) -> None:
    """Note that this process has closed ``file`` once."""
    if file is not None:
        _held[file] -= 1
        if _held[file] <= 0:
            del _held[file]


def is_held(path: Path) -> bool:
    """Return whether this process has the file at ``path`` open."""
    return file_at(path) in _held
