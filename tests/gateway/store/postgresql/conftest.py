"""An empty database for each test."""

from collections.abc import Iterator

import pytest
from servers.postgresql import Database, PostgreSQL, database, shared


@pytest.fixture(scope="module")
def server() -> PostgreSQL:
    """The server of ``place``: the one that all tests of this process share, unless their module starts its own."""
    return shared()


@pytest.fixture
def place(server: PostgreSQL) -> Iterator[Database]:
    with database(server) as found:
        yield found
