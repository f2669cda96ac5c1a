"""The contract, kept by the SQLite engine."""

from pathlib import Path

import pytest
from store_contract import StoreContract

from gateway.store import Engine, engine_of


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        return engine_of(f"sqlite:{tmp_path}/var/gateway.db")
