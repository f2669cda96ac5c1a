"""The contract for transactions of somebody else, kept by the engine in the file of a project."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from project_file import migrated
from transaction_contract import TransactionContract

from gateway.store import Engine, Store
from gateway.store.project import vendor


class TestProjectTransactions(TransactionContract):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        return vendor("sqlite").engine({"database": migrated(tmp_path / "db.sqlite3", "wal")})

    @pytest.fixture
    def connection(self, store: Store, tmp_path: Path) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)) as connection:
            connection.execute("CREATE TABLE rows (what TEXT)")
            yield connection
