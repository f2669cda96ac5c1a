"""What the workers of a gateway ask one another."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.own_thread import operator_thread
from gateway.succession import succession
from protocols.lazy_names import imported


class Measured(TypedDict):
    """What this process has measured."""

    snapshot: Mapping[str, Sequence[Any]]
    """The series of each family of metrics: the values of its labels, and its own value."""
    counted: Sequence[str]
    """The families that still count when the process has ended."""


@operation("snapshot", "GET")
async def snapshot(here: Here) -> Measured:
    """Read the metrics of this process alone. `/metrics` adds up those of all workers."""
    read = await operator_thread.run(imported, "gateway.metrics.workers:of_process")
    found: Measured = await read(here.service(succession))
    return found
