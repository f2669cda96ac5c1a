"""What `make bench-quick` needs of a fresh clone; what it measures is no test."""

from pathlib import Path

import pytest

from benchmarks import metrics_cost, store


async def test_the_store_is_measured_where_nothing_has_run_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    await store.measure(256)
    assert capsys.readouterr().out.count("messages/s") == 4
    assert list((tmp_path / "var").iterdir()) == []


@pytest.mark.parametrize(("owner", "name", "counting"), metrics_cost.COUNTING)
def test_the_statements_that_are_measured_by_taking_them_out_are_there(
    owner: type, name: str, counting: dict[str, str]
) -> None:
    assert metrics_cost.without(owner, name, counting).__code__ != owner.__dict__[name].__code__
