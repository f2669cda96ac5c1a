"""Writes messages and items to files, for their owner's eyes only."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from gateway.console.kept.content import file_of
from gateway.store import Message, Outgoing
from protocols import private_files

Read = Callable[[str], Awaitable[Message | Outgoing | None]]


async def export(read: Read, folder: Path, ids: Sequence[str], advance: Callable[[int], object]) -> int:
    """Write a file for each into ``folder``, one at a time; how many were still there. Raises OSError."""
    written = 0
    for id_ in ids:
        if (item := await read(id_)) is not None:
            _write(folder, item)
            written += 1
        advance(1)
    return written


def _write(folder: Path, item: Message | Outgoing) -> None:
    name, content = file_of(item)
    private_files.make_folder(folder)
    private_files.write(folder / name, content)
