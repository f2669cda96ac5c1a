"""A file of the log: rotated by us, by logrotate, or not at all."""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.logs.writer import Moved

MODE = 0o640
"""A group such as ``adm`` may read logs, which have addresses and no content. The umask can take that away."""
GONE = 1.0
"""Seconds that a file is missing before another one is made: between the two steps of a logrotate that makes the new
file itself, ours would be in its way."""
AGAIN = 60.0
"""Seconds until a rotation that failed is tried again. The file grows meanwhile."""
_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class Rotation:
    """When a file is renamed to ``path.1``, the one before it to ``path.2``, and so on."""

    max_size: int
    """It is renamed before it becomes longer, in bytes. 0: never."""
    keep: int
    """How many renamed files stay."""
    daily: bool = False
    """It is also renamed before the first record of a day."""

    def is_due(self, status: os.stat_result, first: int) -> bool:
        """Return whether the file has to be renamed before a record of ``first`` bytes."""
        is_full = 0 < self.max_size < status.st_size + first
        is_old = self.daily and _day(status.st_mtime) != _day(time.time())
        return bool(status.st_size) and (is_full or is_old)


class LogFile:
    """A :class:`gateway.logs.writer.Target`: the file at ``path``.

    It is made when it is needed, and found again when it was renamed, replaced, truncated or deleted, or its folder
    was. Records are appended whole, also where a disk was full meanwhile, so that several processes can write to it: an
    old one and its successor, say.
    """

    keeps_trying = True

    def __init__(self, path: str, rotation: Rotation, tell: Callable[[str], object]) -> None:
        """``tell`` gets what is wrong although records are written; on any thread."""
        self.path = path
        self._rotation = rotation
        self._tell = tell
        self._file = -1
        self._gone_since = 0.0
        self._no_rotation_before = 0.0
        self._has_failed = False

    def is_ready(self) -> bool:
        return False  # a disk may be slow, or be another machine's

    def prepare(self, first: int) -> int:
        if self._file < 0 or not self._is_current():
            self.reopen()
        self._has_failed = False
        status = os.fstat(self._file)
        if not stat.S_ISREG(status.st_mode):
            return _NO_LIMIT
        if self._rotation.is_due(status, first) and self._rotate():
            status = os.fstat(self._file)
        return max(first, self._rotation.max_size - status.st_size) if self._rotation.max_size else _NO_LIMIT

    def write(self, data: bytes | memoryview) -> int:
        if self._has_failed and not self._goes_on():
            raise Moved
        self._has_failed = True
        written = os.write(self._file, data)
        self._has_failed = False
        return written

    def reopen(self) -> None:
        """Close the file, and open what is at its path now."""
        self.close()
        self._gone_since = 0.0
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _goes_on(self) -> bool:
        """Return whether the file still ends where our last write ended. A pipe cannot tell: False."""
        status = os.fstat(self._file)
        at_end = stat.S_ISREG(status.st_mode) and os.lseek(self._file, 0, os.SEEK_CUR) == status.st_size
        return at_end and self._is_current()

    def _is_current(self) -> bool:
        try:
            there = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            now = time.monotonic()
            self._gone_since = self._gone_since or now
            return now - self._gone_since < GONE
        self._gone_since = 0.0
        return os.path.samestat(there, os.fstat(self._file))

    def _rotate(self) -> bool:
        """Return whether there is another file now."""
        if time.monotonic() < self._no_rotation_before:
            return False
        fcntl.flock(self._file, fcntl.LOCK_EX)  # closing the file ends it
        try:
            if os.path.samestat(os.stat(self.path), os.fstat(self._file)):  # else another process has rotated it
                self._rename()
        except OSError as error:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self._no_rotation_before = time.monotonic() + AGAIN
            self._tell(f"{self.path} is not rotated, and grows: {error.strerror}")
            return False
        self.reopen()
        return True

    def _rename(self) -> None:
        there = range(1, self._rotation.keep)
        free = next((number for number in there if not os.path.lexists(f"{self.path}.{number}")), self._rotation.keep)
        for number in range(free - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        os.rename(self.path, f"{self.path}.1")


def _day(time_: float) -> tuple[int, int, int]:
    return time.localtime(time_)[:3]
