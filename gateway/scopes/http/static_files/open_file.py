"""A regular file that is open for reading."""

import os
import stat


class OpenFile:
    """Has the size and the time that the file had when it was opened. All methods block."""

    __slots__ = ("_descriptor", "modified_ns", "size")

    def __init__(self, descriptor: int) -> None:
        """Takes over ``descriptor``. Raises IsADirectoryError for a folder, FileNotFoundError for a pipe, say."""
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        self.size = found.st_size
        self.modified_ns = found.st_mtime_ns
        if not stat.S_ISREG(found.st_mode):
            self.close()
            missing = IsADirectoryError if stat.S_ISDIR(found.st_mode) else FileNotFoundError
            raise missing("it is not a regular file")

    def read(self, begin: int, length: int) -> bytes:
        """Return ``length`` bytes from ``begin`` on, or fewer if the file has become shorter."""
        pieces: list[bytes] = []
        while length > 0 and (piece := os.pread(self._descriptor, length, begin)):
            pieces.append(piece)
            begin, length = begin + len(piece), length - len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close
    """A request can be cancelled while a thread opens its file. Then nothing else closes the file."""
