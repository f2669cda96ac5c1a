"""The metrics of all workers of a gateway, added up."""

from typing import Any, TypedDict

from gateway.metrics.process import snapshot
from gateway.metrics.snapshot import Snapshot, cumulative, join
from gateway.metrics.table import FAMILIES
from gateway.succession import Succession

PATIENCE = 4.0
"""Seconds for each worker to read its metrics. Prometheus waits for 10 by default."""
Series = list[tuple[list[str], Any]]
"""The series of a family: the values of its labels, and its own value."""


class Counted(TypedDict):
    """What one worker has measured."""

    snapshot: Snapshot
    counted: list[str]
    """The families that still count when the worker has ended."""


async def of_process(here: Succession) -> Counted:
    """Read the metrics of this process."""
    taken = await snapshot(here)
    return {"snapshot": taken, "counted": [*cumulative(FAMILIES, taken)]}


def last(here: Succession, before: Counted) -> Snapshot:
    """Return what this process has counted at its end: of each series the later value, which is the larger one.
    ``before`` was read earlier, with servers and with the process's own metrics, which are gone since."""
    counted = {name: before["snapshot"][name] for name in before["counted"]}
    return {name: _larger(counted.get(name, []), here.kept.get(name, [])) for name in {**counted, **here.kept}}


def _larger(one: Series, other: Series) -> Series:
    values = {tuple(labels): value for labels, value in one}
    for labels, value in other:
        before = values.get(tuple(labels))
        if before is None or _size(before) <= _size(value):
            values[tuple(labels)] = value
    return [(list(labels), value) for labels, value in values.items()]


def _size(value: Any) -> float:
    size: float = sum(value["counts"]) if isinstance(value, dict) else value
    return size


async def of_all(here: Succession) -> Snapshot:
    """Read the metrics of the gateway: of this process, and of all other workers if there are any. What a worker has
    counted that has ended, or does not answer, is among them."""
    if here.gather is None:
        return await snapshot(here)
    found = await here.gather({"do": "snapshot"}, PATIENCE)
    return join(FAMILIES, [*(_of(each) for each in found["found"]), found["gone"]])


def _of(found: Any) -> Snapshot:
    taken: Snapshot = found["counted"] if found["answer"] is None else found["answer"]["snapshot"]
    return taken
