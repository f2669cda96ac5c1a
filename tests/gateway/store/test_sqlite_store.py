"""The contract, held by the SQLite engine."""

from pathlib import Path

from store_contract import StoreContract

from gateway.store import SQLiteStore, Store


class TestSQLiteStore(StoreContract):
    def make_store(self, place: Path) -> Store:
        return SQLiteStore(place / "var" / "gateway.db")
