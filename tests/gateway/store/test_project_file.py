"""The contract, kept by the engine in the file of a project."""

from pathlib import Path

import pytest
from project_file import migrated
from store_contract import StoreContract

from gateway.store import Engine
from gateway.store.project import vendor


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
