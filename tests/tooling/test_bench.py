"""What `make bench-quick` needs of a fresh clone; what it measures is no test."""

import socket
from pathlib import Path

import pytest

from benchmarks import metrics_cost, side_by_side, store, windowed


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


async def test_a_server_that_accepts_no_connection_is_no_rate_but_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windowed, "ACCEPTED_WITHIN", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.raises(side_by_side.NotServedError) as told:
        await windowed.load("http", listening.getsockname()[1], 200, 1, 0.1)
    assert str(told.value).startswith("accepted 0 of 200 connections")
