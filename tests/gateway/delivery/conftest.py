"""A real store in a temporary folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store import set_store
from gateway.store.sqlite import SQLiteStore


@pytest.fixture
async def store(tmp_path: Path, anyio_backend: object) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "gateway.db")
    assert await store.open() == ""
    set_store(store)
    yield store
    set_store(None)
    await store.close()
