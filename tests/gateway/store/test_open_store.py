"""Which store is meant, and which is in use."""

from pathlib import Path

import pytest

from gateway.store import SQLiteStore, get_store, open_store, set_store


def test_a_url_names_a_file() -> None:
    store = open_store("sqlite:var/gateway.db")
    assert isinstance(store, SQLiteStore)
    assert store.path == Path("var/gateway.db")


@pytest.mark.parametrize("url", ["", "var/gateway.db", "sqlite:", "sqlite:var/", "redis://h", "sqlit:x"])
def test_anything_else_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(ValueError, match="is no store; write sqlite:FILE"):
        open_store(url)


def test_the_store_of_the_process() -> None:
    with pytest.raises(LookupError, match="no store is set"):
        get_store()
    store = SQLiteStore("x.db")
    set_store(store)
    try:
        assert get_store() is store
    finally:
        set_store(None)
