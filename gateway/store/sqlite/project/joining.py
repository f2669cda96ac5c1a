"""Takes part in a transaction on a connection of the project."""

import sqlite3

from gateway.store.joined import Joined
from gateway.store.sqlite.project.connection import Renamed
from gateway.store.sqlite.sql import locks
from gateway.store.sqlite.store import SQLiteStore
from gateway.store.transaction import TransactionStore


def joined(connection: sqlite3.Connection, owner: str = "") -> TransactionStore:
    """See :meth:`gateway.store.interfaces.Engine.joined`."""
    return Joined(Renamed(connection), owner, SQLiteStore.operations, locks)
