"""Standard error, or another stream, to which records are written."""

import io
import os
import select
import stat
from typing import TextIO

_NO_LIMIT = 1 << 62


class Stream:
    """A :class:`gateway.logs.writer.Target`. Nothing waits for a pipe, a socket or a terminal that is not read: with a
    descriptor the stream is written past Python's own buffers, which cannot do so in part."""

    keeps_trying = False

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._encoding = stream.encoding or "utf-8"
        self._descriptor = _descriptor(stream)
        self._poll: select.poll | None = None
        if self._descriptor is not None and not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def is_ready(self) -> bool:
        return self._poll is None or bool(self._poll.poll(0))

    def prepare(self, first: int) -> int:
        return _NO_LIMIT

    def write(self, data: bytes | memoryview) -> int:
        if self._descriptor is None:
            self.stream.write(bytes(data).decode(self._encoding))
            self.stream.flush()
            return len(data)
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # a process that shares the stream has set O_NONBLOCK
            if self._poll is not None:
                self._poll.poll(1000)
            return 0

    def reopen(self) -> None:
        """Do nothing: a stream has no path."""

    def close(self) -> None:
        """Leave the stream open: it belongs to the process."""


def _descriptor(stream: TextIO) -> int | None:
    """Return the descriptor of ``stream``; None if it has none, or one that is closed."""
    try:
        os.fstat(descriptor := stream.fileno())
    except (io.UnsupportedOperation, OSError, ValueError):
        return None
    return descriptor
