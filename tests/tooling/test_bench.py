"""What `make bench-quick` needs of a fresh clone; what it measures is no test."""

from pathlib import Path

import pytest

from benchmarks import store


async def test_the_store_is_measured_where_nothing_has_run_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    await store.measure(256)
    assert capsys.readouterr().out.count("messages/s") == 4
    assert list((tmp_path / "var").iterdir()) == []
