"""Which store is meant."""

from pathlib import Path

import pytest

from gateway.store import open_store
from gateway.store.sqlite import SQLiteStore


def test_a_url_names_a_file() -> None:
    store = open_store("sqlite:var/gateway.db")
    assert isinstance(store, SQLiteStore)
    assert store.path == Path("var/gateway.db")


@pytest.mark.parametrize("url", ["", "var/gateway.db", "sqlite:", "sqlite:var/", "redis://h", "sqlit:x"])
def test_anything_else_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(ValueError, match="is no store; write sqlite:FILE"):
        open_store(url)
