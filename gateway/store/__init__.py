"""The one durable store: inbox, claims, dead letters, what handlers send."""

from pathlib import Path

from gateway.store.engine import (
    Claim,
    Counts,
    Message,
    Outgoing,
    OutgoingSummary,
    Step,
    Store,
    StoreUnavailable,
    Summary,
)
from gateway.store.sqlite import SQLiteStore

__all__ = [
    "Claim",
    "Counts",
    "Message",
    "Outgoing",
    "OutgoingSummary",
    "SQLiteStore",
    "Step",
    "Store",
    "StoreUnavailable",
    "Summary",
    "open_store",
]


def open_store(url: str) -> Store:
    """The engine for ``sqlite:var/gateway.db``, not opened yet. Raises ValueError for anything else."""
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path or path.endswith("/"):
        raise ValueError(f"{url!r} is no store; write sqlite:FILE, such as sqlite:var/gateway.db")
    return SQLiteStore(Path(path))
