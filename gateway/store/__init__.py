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
    "get_store",
    "open_store",
    "set_store",
]


def open_store(url: str) -> Store:
    """The engine for ``sqlite:var/gateway.db``, not opened yet. Raises ValueError for anything else."""
    scheme, _, path = url.partition(":")
    if scheme != "sqlite" or not path or path.endswith("/"):
        raise ValueError(f"{url!r} is no store; write sqlite:FILE, such as sqlite:var/gateway.db")
    return SQLiteStore(Path(path))


class _Current:
    store: Store | None = None


def get_store() -> Store:
    """The process's store. Raises LookupError where none is set."""
    if _Current.store is None:
        raise LookupError("no store is set: the daemon does it for routes that need one, a test with set_store()")
    return _Current.store


def set_store(store: Store | None) -> None:
    """Use ``store`` in this process; None: none any more."""
    _Current.store = store
