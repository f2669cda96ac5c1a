"""A part of the metrics that cannot be read is missing, and everything else is there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from gateway.metrics import reader
from gateway.metrics.family import Sample, counter, gauge
from gateway.metrics.reader import Reader, take
from gateway.metrics.snapshot import Snapshot
from gateway.runtime.build import Gateway

ACCEPTED = counter("gateway_accepted_total", "Help.", "server")
UPTIME = gauge("gateway_memory_bytes", "Help.")
ONE, OTHER = cast("list[Gateway]", ["one", "other"])


async def _accepted(gateway: Any) -> AsyncIterator[Sample]:
    yield ACCEPTED.sample(1, "web")
    yield ACCEPTED.sample(2, gateway)


async def _memory(gateway: Any) -> AsyncIterator[Sample]:
    yield UPTIME.sample(5)


async def _fails(gateway: Any) -> AsyncIterator[Sample]:
    yield UPTIME.sample(5)
    raise OSError("no such disk")


async def _hangs(gateway: Any) -> AsyncIterator[Sample]:
    yield UPTIME.sample(5)
    await asyncio.get_running_loop().create_future()


async def _goes_on(gateway: Any) -> AsyncIterator[Sample]:
    while True:
        yield ACCEPTED.sample(1, "web")


def of(snapshot: Snapshot, name: str) -> dict[tuple[str, ...], float]:
    return {tuple(labels): value for labels, value in snapshot[name]}


async def test_gateways_of_one_process_are_added_up_and_the_process_counts_once() -> None:
    readers = [Reader("listeners", (ACCEPTED,), _accepted), Reader("memory", (UPTIME,), _memory, of="process")]
    taken = await take(readers, [ONE, OTHER])
    assert of(taken, "gateway_accepted_total") == {("web",): 2, ("one",): 2, ("other",): 2}
    assert of(taken, "gateway_memory_bytes") == {(): 5}


@pytest.mark.parametrize("fails", [_fails, _hangs, _goes_on])
async def test_one_that_fails_or_hangs_is_left_out(fails: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LONGEST", 0.2)
    taken = await take([Reader("disk", (UPTIME,), fails), Reader("listeners", (ACCEPTED,), _accepted)], [ONE])
    assert "gateway_memory_bytes" not in taken
    assert of(taken, "gateway_accepted_total")["one",] == 2
    assert of(taken, "gateway_metrics_reader_success") == {("disk",): 0, ("listeners",): 1}


async def test_a_family_without_series_is_there() -> None:
    async def nothing(gateway: Any) -> AsyncIterator[Sample]:
        return
        yield

    assert await take([Reader("listeners", (ACCEPTED,), nothing)], [ONE]) == {
        "gateway_metrics_reader_success": [(["listeners"], 1.0)],
        "gateway_accepted_total": [],
    }
