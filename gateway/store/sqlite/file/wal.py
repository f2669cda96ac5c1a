"""Counts commits in SQLite's write-ahead log, to find those that SQLite did not take.

At start SQLite silently ends at the first frame whose checksum is wrong. After a crash that is what was being written;
a flipped bit in the middle looks the same to it, and whole commits are lost without a word. So we count.
"""

import struct
from pathlib import Path

_HEADER = 32
_FRAME = struct.Struct(">IIII")  # page number, size of the database after a commit (0: no commit), salts


def wal_of(database: Path) -> Path:
    """The log is beside the file itself, and not beside a symbolic link to it."""
    file = database.resolve()
    return file.with_name(f"{file.name}-wal")


def commits(wal: Path, page_size: int) -> list[int]:
    """The numbers, from 1, of the frames that end a commit, in the log's present generation."""
    found: list[int] = []
    try:
        with wal.open("rb") as file:
            header = file.read(_HEADER)
            generations = {header[16:24]}
            number = 1
            while len(frame := file.read(24 + page_size)) == 24 + page_size:
                _, size, *_ = _FRAME.unpack(frame[:16])
                if number == 1:  # the header's own salts may be what is damaged
                    generations.add(frame[8:16])
                if size and frame[8:16] in generations:
                    found.append(number)
                number += 1
    except FileNotFoundError:
        return []
    return found
