"""The contract for transactions of somebody else, kept by the SQLite engine."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_contract import NOW, a_message
from transaction_contract import TransactionContract

from gateway.store import Engine, Store, TransactionLost, TransactionStore, engine_of


class TestSQLiteTransactions(TransactionContract):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        return engine_of(f"sqlite:{tmp_path}/gateway.db")

    @pytest.fixture
    def connection(self, store: Store, tmp_path: Path) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as connection:
            connection.execute("CREATE TABLE rows (what TEXT)")
            yield connection

    async def test_a_transaction_that_sqlite_has_rolled_back_itself_is_lost(
        self, store: Store, connection: sqlite3.Connection, joined: TransactionStore
    ) -> None:
        await store.put(a_message())
        [message] = await store.take(1, now=NOW)
        connection.execute("CREATE UNIQUE INDEX once ON rows (what)")
        connection.execute("BEGIN")
        mark = joined.begin(message)
        connection.execute("INSERT INTO rows VALUES ('one')")
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute("INSERT OR ROLLBACK INTO rows VALUES ('one')")
        with pytest.raises(TransactionLost):
            joined.finish(mark)
        assert (await store.counts()).running == 1

    async def test_tables_of_handlers_in_the_store_s_file_are_no_damage(
        self, engine: Engine, store: Store, connection: sqlite3.Connection
    ) -> None:
        connection.execute("INSERT INTO rows VALUES ('one')")
        other = engine.store()
        assert await other.open() == ""
        await other.close()
        assert self.rows(connection) == ["one"]
