"""The contract, held by the SQLite engine."""

from pathlib import Path

from store_contract import StoreContract

from gateway.store import Store
from gateway.store.sqlite import SQLiteStore


class TestSQLiteStore(StoreContract):
    def make_store(self, place: Path) -> Store:
        return SQLiteStore(place / "var" / "gateway.db")
