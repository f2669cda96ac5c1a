"""The contract for transactions of somebody else, kept by the PostgreSQL engine: also on a connection whose own cursors
write parameters into the statement, as those of Django do."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from servers.postgresql import USER, Database, emptied
from store_contract import NOW, a_message
from transaction_contract import TransactionContract

from gateway.store import Engine, Store, TransactionStore, engine_of


class TestPostgreSQLTransactions(TransactionContract):
    @pytest.fixture
    def place(self) -> Database:
        return emptied()

    @pytest.fixture
    def engine(self, place: Database) -> Engine:
        return engine_of(place.url)

    @pytest.fixture(params=[psycopg.Cursor, psycopg.ClientCursor])
    def connection(self, place: Database, store: Store, request: pytest.FixtureRequest) -> Iterator[Any]:
        with place.connect(cursor_factory=request.param) as connection:
            connection.execute("DROP TABLE IF EXISTS rows")
            connection.execute("CREATE TABLE rows (what TEXT)")
            yield connection

    async def test_an_aborted_transaction_finishes_nothing(
        self, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        await store.put(a_message())
        [message] = await store.take(1, now=NOW)
        connection.execute("BEGIN")
        mark = joined.begin(message)
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            joined.finish(mark)
        connection.execute("ROLLBACK")
        assert (await store.counts()).running == 1

    async def test_a_locked_message_is_not_taken_over(
        self, place: Database, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        await store.put(a_message("m1"))
        [message] = await store.take(1, now=NOW)
        connection.execute("BEGIN")
        joined.begin(message)
        with place.connect() as other:
            found = other.execute("SELECT id FROM gateway_messages FOR UPDATE SKIP LOCKED").fetchall()
        assert found == []
        connection.execute("ROLLBACK")

    async def test_a_handler_s_role_and_search_path_are_its_own(
        self, place: Database, store: Store, connection: Any, joined: TransactionStore
    ) -> None:
        """Such as those of a tenant, who has no rights to the gateway's tables."""
        await store.put(a_message())
        [message] = await store.take(1, now=NOW)
        with place.server.admin() as admin:
            admin.execute(f"GRANT pg_monitor TO {USER}")
        connection.execute("CREATE SCHEMA IF NOT EXISTS tenant")
        connection.execute("BEGIN")
        mark = joined.begin(message)
        connection.execute("SET LOCAL ROLE pg_monitor")
        connection.execute("SET LOCAL search_path TO tenant")
        joined.finish(mark)
        connection.execute("COMMIT")
        assert (await store.counts()).running == 0
