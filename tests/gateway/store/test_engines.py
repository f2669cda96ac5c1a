"""Which engine a URL names."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.store import engine_of
from gateway.store.sqlite import SQLiteStore


def test_a_url_names_a_file() -> None:
    engine = engine_of("sqlite:var/gateway.db")
    assert str(engine) == "var/gateway.db"
    store = engine.store()
    assert isinstance(store, SQLiteStore)
    assert store.path == Path("var/gateway.db")


@pytest.mark.parametrize("url", ["", "var/gateway.db", "sqlite:", "sqlite:var/", "redis://h", "sqlit:x"])
def test_anything_else_is_refused_in_one_sentence(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not a store.*; write sqlite:FILE"):
        engine_of(url)


def test_a_url_without_a_file_says_so() -> None:
    with pytest.raises(ValueError, match=r"^'sqlite:var/' is not a store \(it names no file\); write sqlite:FILE"):
        engine_of("sqlite:var/")


def test_an_engine_is_imported_when_it_is_chosen() -> None:
    program = """
import sys, gateway.store
before = [name for name in sys.modules if name.startswith("gateway.store.sqlite")]
gateway.store.engine_of("sqlite:x.db")
assert not before and "gateway.store.sqlite.engine" in sys.modules, before
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_a_store_in_a_folder_that_cannot_be_entered_may_exist(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not engine_of(f"sqlite:{tmp_path}/none/gateway.db").exists()
    assert not engine_of(f"sqlite:{tmp_path}/file/gateway.db").exists()
    assert engine_of(f"sqlite:{tmp_path}/{'x' * 300}.db").exists(), "opening it says why it cannot be"
