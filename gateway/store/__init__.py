"""The one durable store: inbox, claims, dead letters, what handlers send."""

from pathlib import Path

from gateway.store.interfaces import (
    ClaimStore,
    Clock,
    InboxStore,
    KeyValueStore,
    OperatorStore,
    OutboxStore,
    Store,
    UpkeepStore,
)
from gateway.store.values import (
    Claim,
    ClaimState,
    Counts,
    Message,
    MessageState,
    Outgoing,
    OutgoingState,
    OutgoingSummary,
    Search,
    Step,
    StoreUnavailable,
    Summary,
)

__all__ = [
    "Claim",
    "ClaimState",
    "ClaimStore",
    "Clock",
    "Counts",
    "InboxStore",
    "KeyValueStore",
    "Message",
    "MessageState",
    "OperatorStore",
    "OutboxStore",
    "Outgoing",
    "OutgoingState",
    "OutgoingSummary",
    "Search",
    "Step",
    "Store",
    "StoreUnavailable",
    "Summary",
    "UpkeepStore",
    "open_store",
]


def open_store(url: str) -> Store:
    """The engine for ``sqlite:var/gateway.db``, not opened yet. Raises ValueError for anything else."""
    from gateway.store.sqlite import SQLiteStore

    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path or path.endswith("/"):
        raise ValueError(f"{url!r} is no store; write sqlite:FILE, such as sqlite:var/gateway.db")
    return SQLiteStore(Path(path))
