"""The file of a recording: a line about itself, and a line for each entry."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gateway.recording.entry import Damaged, Entry
from protocols import private_files

VERSION = 1
_KEY = "gateway recording"


class Full(Exception):
    """The file has its size."""


class Writer:
    """Writes a recording that this user alone may read. Use it as a context manager."""

    def __init__(self, path: Path, most: int) -> None:
        """``most``: bytes. Raises OSError if there is a file, or none can be made."""
        if path.exists():
            raise FileExistsError(f"{path} exists; choose another name")
        private_files.create(path)
        self._file: BinaryIO = path.open("r+b")
        self._left = most
        self.write({_KEY: VERSION, "began": time.time()})

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: dict[str, Any]) -> None:
        """Append a line. Raises Full if there is no room for it, and OSError."""
        line = json.dumps(data).encode() + b"\n"
        if len(line) > self._left:
            raise Full
        self._left -= len(line)
        self._file.write(line)
        self._file.flush()


def entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a recording, with no more than one in memory. The last line may have been cut off.

    Raises Damaged, with the number of the line, and OSError.
    """
    with path.open("rb") as file:
        _check(next(file, b""))
        for number, line in enumerate(file, 2):
            if line.endswith(b"\n"):
                try:
                    yield Entry.read(line)
                except Damaged as error:
                    raise Damaged(f"line {number}: {error}") from error


def _check(head: bytes) -> None:
    try:
        version = json.loads(head)[_KEY]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged("line 1: it is no recording of gateway record") from error
    if version != VERSION:
        raise Damaged(f"line 1: it is a recording of version {version!r}, and this gateway reads version {VERSION}")
