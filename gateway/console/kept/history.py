"""The history of one message, as an operator asks for it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.console.kept.content import entry_data
from gateway.console.kept.selection import CANDIDATES, resolve
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


def state_of(found: History) -> str:
    """``waiting``, ``running``, ``dead``, or ``absent``: then its last step says why."""
    return "absent" if found.message is None else found.message.state


def history_data(found: History) -> dict[str, Any]:
    """A history for programs. ``at`` is Unix time."""
    return {
        "id": found.id,
        "state": state_of(found),
        "history": [{"at": step.at, "what": step.what} for step in found.steps],
        "message": entry_data(found.message) if found.message else None,
        "outgoing": [entry_data(item) for item in found.outgoing],
    }
