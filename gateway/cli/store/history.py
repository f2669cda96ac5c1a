"""The history of one message, as an operator asks for it."""

from dataclasses import dataclass
from functools import partial

from gateway.cli.store.selection import CANDIDATES, resolve
from gateway.store import HistoryEntry, OperatorStore, OutgoingSummary, Summary


@dataclass(frozen=True)
class History:
    """What happened to a message, and where it is now."""

    id: str
    message: Summary | None
    """None if the store no longer has it, or its sender still has it."""
    steps: list[HistoryEntry]
    outgoing: list[OutgoingSummary]
    """Items that its handler sent and that have not left."""


async def history_of(store: OperatorStore, given: str) -> History:
    """The history of the event whose id, or the id of one of whose outgoing items, begins with ``given``. Raises
    Unknown."""
    event = await resolve(given, partial(store.find, limit=CANDIDATES + 1), "message")
    return History(event, await store.summary(event), await store.history(event), await store.outgoing(message=event))
