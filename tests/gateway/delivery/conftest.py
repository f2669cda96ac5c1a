"""A real store in a temporary folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from own_services import delivering

from gateway.store.sqlite import SQLiteStore


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: object) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "gateway.db")
    assert await store.open() == ""
    with delivering(store):
        yield store
    await store.close()
