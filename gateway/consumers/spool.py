"""Keeps bytes in memory, and in one temporary file once they are many."""

import os
from tempfile import TemporaryFile
from typing import IO


class Spool:
    """Bytes that are appended, and read anywhere. ``memory``: how many are kept in memory; None: all."""

    def __init__(self, memory: int | None) -> None:
        self._memory = memory
        self._bytes = bytearray()
        self._file: IO[bytes] | None = None
        self.size = 0
        self._is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``. Blocks if it is written to the file. Raises OSError."""
        self.size += len(data)
        if self._file is None:
            self._bytes += data
            if self._memory is not None and self.size > self._memory:
                self._file = TemporaryFile()  # noqa: SIM115 -- close() closes it
                data, self._bytes = self._bytes, bytearray()
        if self._file is not None:
            self._file.write(data)

    def read(self, start: int, size: int) -> bytes:
        """Return ``size`` bytes. Raises ValueError after :meth:`close`."""
        if self._is_closed:
            raise ValueError("the request is over, and its files are closed")
        if self._file is None:
            return bytes(memoryview(self._bytes)[start : start + size])
        self._file.flush()
        return os.pread(self._file.fileno(), size, start)

    def close(self) -> None:
        self._is_closed = True
        self._bytes = bytearray()
        if self._file is not None:
            self._file.close()
