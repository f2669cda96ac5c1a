"""An engine without a file: nothing outside the store assumes a path."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.store.session import with_store
from gateway.config.loader import load
from gateway.runtime import preflight
from gateway.store import Counts, Engine, OperatorStore, Store, TransactionStore, engine_of
from gateway.store.engines import ENGINES

URL = "elsewhere://gateway:secret@db.example.org/mail"
FILE = f"""
store: {URL}
servers: {{mail: {{protocol: smtp, bind: "127.0.0.1:0"}}}}
routes: {{email: {{app: handlers.Desk, inbox: true}}}}
"""


class Elsewhere:
    """A server's database. What it keeps lies in SQLite here."""

    path = None
    there = False
    wrong: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "mail on db.example.org"

    def store(self) -> Store:
        return engine_of("sqlite:kept.db").store()

    def joined(self, connection: Any, owner: str = "") -> TransactionStore:
        return engine_of("sqlite:kept.db").joined(connection, owner)

    def exists(self) -> bool:
        return self.there

    def faults(self) -> tuple[str, ...]:
        return self.wrong

    def check_shared(self) -> None:
        """Return: no other process has it open."""


def parse(url: str, folder: Path) -> Engine:
    assert url == URL
    return Elsewhere()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setitem(ENGINES, "elsewhere", (__name__, "elsewhere://USER@HOST/NAME"))
    before = os.getcwd()
    os.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(FILE)
    yield "gateway.yaml"
    os.chdir(before)


async def counts(store: OperatorStore) -> Counts:
    return await store.counts()


def test_check_says_what_the_engine_says(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert preflight.diagnostics(load(file), stored=True) == []
    monkeypatch.setattr(Elsewhere, "wrong", ("mail on db.example.org: there is no such database",))
    [found] = preflight.diagnostics(load(file), stored=True)
    assert "store: mail on db.example.org: there is no such database" in str(found)


def test_commands_call_it_as_it_calls_itself(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        with_store(file, counts)
    assert capsys.readouterr().err == "there is no store yet at mail on db.example.org: no message was kept\n"
    monkeypatch.setattr(Elsewhere, "there", True)
    assert with_store(file, counts) == Counts(0, 0, 0, 0)


def test_a_url_of_no_engine_names_all_of_them(file: str) -> None:
    with pytest.raises(ValueError, match=r"write sqlite:FILE, such as .* or elsewhere://USER@HOST/NAME"):
        engine_of("redis://h")


def test_nothing_outside_the_store_takes_its_url_apart() -> None:
    source = Path(__file__).parents[3] / "gateway"
    outside = [path for path in source.rglob("*.py") if not path.is_relative_to(source / "store")]
    assert outside
    for text in ("store.partition", "store.sqlite"):
        assert not [path.name for path in outside if text in path.read_text()]
