"""Writes records, and never makes a caller wait for a slow disk or for a pipe that is not read.

A record is written at once where that takes no time. Otherwise a thread writes it, and callers go on: at most `MOST`
bytes wait, and the writer counts the records that do not fit. A process that is killed loses what waits.
"""

import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

MOST = 8 * 1024 * 1024
"""Bytes that wait to be written."""
GATHER = 0.01
"""Seconds from a record until the thread writes it and those that have come meanwhile, in one call: to wake for each of
them would cost as much as the rest of a log line."""
RETRY = 1.0
"""Seconds between two attempts at a file that cannot be written."""

Act = Callable[[], object]


class Moved(Exception):
    """The next write would not follow the last one: the file was replaced or truncated meanwhile, or another process
    has written to it."""


class Target(Protocol):
    """Where records go. All but :meth:`is_ready` may wait, and raise OSError."""

    keeps_trying: bool
    """Whether records wait if they cannot be written. Otherwise they are lost."""

    def is_ready(self) -> bool:
        """Whether a write would not wait now."""

    def prepare(self, first: int) -> int:
        """Get ready to write a record of ``first`` bytes. Return how many bytes may be written before the next call."""

    def write(self, data: bytes | memoryview) -> int:
        """Return how many bytes were written, as :func:`os.write` does. Raises Moved, only after a write that failed:
        a record of which a part was written has to be written again, whole, after another :meth:`prepare`."""

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class Writer:
    """Writes records to ``target`` in their order. ``tell`` gets the error if it cannot, once until it can again; it is
    called from any thread."""

    def __init__(self, target: Target, tell: Callable[[OSError], object] = lambda error: None) -> None:
        self.target = target
        self._tell = tell
        self._queue: SimpleQueue[bytes | Act] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # Each number has one thread that counts it up, so that no lock is needed.
        self._put = 0
        self._done = 0
        self._left_out = 0
        self._not_written = 0
        self._is_full = False
        self._fails = False
        self._is_forked = False
        self._has_ended = False
        self._ends = threading.Event()
        self._hurry = threading.Event()
        _writers.add(self)

    @property
    def lost(self) -> int:
        """Records that were not written, and never will be."""
        return self._left_out + self._not_written

    @property
    def is_over(self) -> bool:
        """Whether it was closed, and nothing of it is written any more."""
        return self._ends.is_set() and (self._thread is None or not self._thread.is_alive())

    def has_room(self) -> bool:
        """Whether records are accepted. Once they were not, half of what waits has to be written first."""
        self._is_full = self._is_full and self._put - self._done > MOST // 2
        return not self._is_full

    def write(self, data: bytes) -> None:
        """Write a record, or let the thread do so. Only one thread at a time may call this."""
        try:
            if self._is_forked:
                self._write_all(data)
                return
            if self._put == self._done and not (data := self._write_what_is_possible(data)):
                return
        except OSError:
            self._left_out += 1
            return
        self._is_full = not self.has_room() or self._put - self._done + len(data) > MOST
        if self._is_full:
            self._left_out += 1
            return
        self._put += len(data)
        self.do(data)

    def do(self, item: bytes | Act) -> None:
        """Let the thread write a record, or do something between two of them."""
        self._queue.put(item)
        if not isinstance(item, bytes):
            self._hurry.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="log", daemon=True)
            self._thread.start()

    def flush(self, patience: float) -> None:
        """Wait until what was accepted is written, but not longer than ``patience``, in seconds."""
        if self._thread is not None:
            done = threading.Event()
            self.do(done.set)
            done.wait(patience)

    def close(self, patience: float) -> None:
        """Write what was accepted, and end. What cannot be written within ``patience`` is given up."""
        self.flush(patience)
        self._ends.set()
        if self._thread is None:
            self.target.close()
        else:
            self.do(self._end)

    def forked(self) -> None:
        """Write at once from now on, in a process that was forked. The thread and what waits are its parent's, and such
        a process may end without a flush."""
        self._is_forked, self._queue, self._thread = True, SimpleQueue(), None

    def _write_what_is_possible(self, data: bytes) -> bytes:
        """Return the rest, which has to wait."""
        while data and self.target.is_ready():
            data = data[self.target.write(data[:_AT_ONCE]) :]
        return data

    def _write_all(self, data: bytes) -> None:
        self.target.prepare(len(data))
        while data:
            data = data[self.target.write(data) :]

    # On the thread.

    def _work(self) -> None:
        while not self._has_ended:
            records, act = self._waiting()
            while records:
                self._write_some(records)
            if act is not None:
                with contextlib.suppress(OSError):  # the next record is tried, and tells
                    act()

    def _end(self) -> None:
        self._has_ended = True
        self.target.close()

    def _waiting(self) -> tuple[deque[bytes], Act | None]:
        """Wait for something to do. Return records, and what is to be done after them."""
        records: deque[bytes] = deque()
        item: bytes | Act | None = self._queue.get()
        self._hurry.wait(GATHER)
        self._hurry.clear()
        while isinstance(item, bytes):
            records.append(item)
            try:
                item = self._queue.get_nowait()
            except Empty:
                return records, None
        return records, item

    def _write_some(self, records: deque[bytes]) -> None:
        """Write as many as there is room for, and one at least. Those that have to be written again stay."""
        if (room := self._try(partial(self.target.prepare, len(records[0])))) is None:
            self._give_up(deque([records.popleft()]))
            return
        batch = deque([records.popleft()])
        room -= len(batch[0])
        while records and len(records[0]) <= room:
            room -= len(records[0])
            batch.append(records.popleft())
        try:
            self._write_batch(batch)
        except Moved:
            records.extendleft(reversed(batch))

    def _write_batch(self, batch: deque[bytes]) -> None:
        """Write ``batch``, or give it up. If this raises Moved, what is not written whole is left in it."""
        data = b"".join(batch)
        rest = memoryview(data)
        try:
            while rest and (written := self._try(partial(self.target.write, rest))) is not None:
                rest = rest[written:]
        finally:
            self._take_whole(batch, len(data) - len(rest))
        self._fails = bool(batch)
        self._give_up(batch)

    def _take_whole(self, batch: deque[bytes], written: int) -> None:
        while batch and len(batch[0]) <= written:
            written -= len(batch[0])
            self._done += len(batch.popleft())

    def _try(self, step: Callable[[], int]) -> int | None:
        """Return what ``step`` returns, once it does; None if it is given up."""
        while True:
            try:
                return step()
            except OSError as error:
                if not self._fails:
                    self._fails = True
                    self._tell(error)
                if not self.target.keeps_trying or self._ends.wait(RETRY):
                    return None

    def _give_up(self, records: deque[bytes]) -> None:
        self._not_written += len(records)
        self._done += sum(map(len, records))


_AT_ONCE = 4096
"""Bytes: a pipe that can be written has room for as many (PIPE_BUF, pipe(7))."""
_writers: "weakref.WeakSet[Writer]" = weakref.WeakSet()


def _tell_of_fork() -> None:
    for each in list(_writers):
        each.forked()


os.register_at_fork(after_in_child=_tell_of_fork)
