"""The contract, kept by the PostgreSQL engine."""

import pytest
from servers.postgresql import emptied
from store_contract import StoreContract

from gateway.store import Engine, engine_of
from gateway.store.postgresql.sql.schema import TABLES


class TestPostgreSQLStore(StoreContract):
    @pytest.fixture
    def engine(self, request: pytest.FixtureRequest) -> Engine:
        """Tables that are empty are there, except in the test of what an engine knows: to make them takes a while."""
        place = emptied()
        if "knows_whether_there_is_a_store" in request.node.name:
            with place.connect() as session:
                session.execute(f"DROP TABLE IF EXISTS {', '.join(TABLES)}")
        return engine_of(place.url)
