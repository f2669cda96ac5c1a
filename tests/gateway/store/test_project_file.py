"""The contract, kept by the engine in the file of a project."""

import asyncio
import contextlib
import os
import sqlite3
import sys
from pathlib import Path

import pytest
from project_file import migrated
from store_contract import StoreContract, a_message

from gateway.store import Engine, StoreUnavailable
from gateway.store.project import vendor
from gateway.store.sqlite.project.connection import ProjectConnection, ProjectFile


class TestProjectFile(StoreContract):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        return vendor("sqlite").engine({"database": migrated(tmp_path / "db.sqlite3")})

    def test_the_engine_knows_whether_there_is_a_store_and_makes_none(  # type: ignore[override]  # it opens nothing
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "db.sqlite3"
        engine = vendor("sqlite").engine({"database": path})
        assert not engine.exists()
        assert engine.faults() == [f"{path}: there is no such file; run: manage.py migrate gateway"]
        assert list(tmp_path.iterdir()) == []
        migrated(path)
        assert engine.exists()
        assert engine.faults() == []


async def test_a_damaged_file_stays_as_it_is(tmp_path: Path) -> None:
    path = migrated(tmp_path / "db.sqlite3")
    with path.open("r+b") as file:
        file.write(b"no database at all")
    before = path.read_bytes()
    engine = vendor("sqlite").engine({"database": path})
    assert "not a database" in engine.faults()[0]
    with pytest.raises(StoreUnavailable, match="not a database"):
        await engine.store().open()
    assert path.read_bytes() == before
    assert not [name for name in os.listdir(tmp_path) if "damaged" in name]


@pytest.mark.parametrize("journal", ["delete", "wal"])
async def test_the_project_says_how_the_file_is_opened(tmp_path: Path, journal: str) -> None:
    """What is acknowledged is on disk in both modes, whatever the project's own connections do."""
    path = migrated(tmp_path / "db.sqlite3")
    first = f"PRAGMA journal_mode = {journal}; PRAGMA synchronous = OFF;"
    engine = vendor("sqlite").engine({"database": f"file:{path}?mode=rw", "init_command": first, "timeout": 2})
    store = engine.store()
    await store.open()
    await store.put(a_message())
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == (journal,)
    await store.close()
    file = ProjectFile(path, tuple(first.split(";")[:2]))
    with contextlib.closing(ProjectConnection(file)) as database:
        assert database.execute("PRAGMA synchronous").fetchone() == ({"delete": 3, "wal": 1}[journal],)


WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
database.execute("CREATE TABLE IF NOT EXISTS theirs (number)")
for number in range(int(sys.argv[2])):
    database.execute("INSERT INTO theirs VALUES (?)", [number])
"""
"""A process of the project, which knows nothing of turns. It raises sqlite3.OperationalError if it gets none."""


@pytest.mark.parametrize("journal", ["delete", "wal"])
async def test_a_busy_gateway_and_a_busy_project_both_get_their_turns(tmp_path: Path, journal: str) -> None:
    path = migrated(tmp_path / "db.sqlite3", journal)
    store = vendor("sqlite").engine({"database": path}).store()
    await store.open()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(path), "200")

    async def send(sender: int) -> int:
        stored = 0
        while process.returncode is None:
            await store.put_all([a_message(f"s{sender}-{stored}-{each}") for each in range(20)])
            stored += 1
        return stored

    stored = await asyncio.gather(*(send(sender) for sender in range(8)))
    assert await process.wait() == 0, "no 'database is locked'"
    assert min(stored) > 0
    await store.close()
