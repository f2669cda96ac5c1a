"""What the store keeps as files, and the story of any message."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.cli.content import file_of
from gateway.cli.selection import CANDIDATES, Advance, meant
from gateway.store import Message, Outgoing, OutgoingSummary, Step, Store, Summary
from protocols import private_files


@dataclass(frozen=True)
class Story:
    """What happened to a message, and where it is now."""

    id: str
    message: Summary | None
    """None where the store has it no longer, or its sender has it still."""
    steps: list[Step]
    outgoing: list[OutgoingSummary]
    """What its handler sent and what has not left."""


async def story(store: Store, given: str) -> Story:
    """Of the event whose id begins with ``given``, or that of something it sends. Raises Unknown."""
    event = await meant(given, partial(store.find, limit=CANDIDATES + 1), "message")
    return Story(event, await store.summary(event), await store.history(event), await store.outgoing(message=event))


Whole = Callable[[str], Awaitable[Message | Outgoing | None]]


async def export(whole: Whole, folder: Path, ids: Sequence[str], advance: Advance) -> int:
    """Write a file for each into ``folder``, one in memory at a time; how many were still there. Raises OSError."""
    written = 0
    for id_ in ids:
        if (kept := await whole(id_)) is not None:
            _write(folder, kept)
            written += 1
        advance(1)
    return written


def _write(folder: Path, kept: Message | Outgoing) -> None:
    """For its owner's eyes alone."""
    name, content = file_of(kept)
    private_files.make_folder(folder)
    private_files.write(folder / name, content)
