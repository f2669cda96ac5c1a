"""The store in one SQLite file: nothing to install, nothing to run beside the gateway."""

from gateway.store.sqlite.store import SQLiteStore

__all__ = ["SQLiteStore"]
