"""Serves the table of operations over the control socket: the name of an operation is its ``do``."""

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from gateway.console.here import Here
from gateway.control.caller import caller
from gateway.control.server import Command, Request
from protocols.lazy_names import imported

if TYPE_CHECKING:  # imported with the first request
    from gateway.console.operation import Answers, Operation


class Commands(Mapping[str, Command]):
    """The operations, as the control socket looks them up. The first request imports them."""

    def __init__(self, here: Here) -> None:
        self._here = here

    def load(self) -> None:
        """Import them, on any thread."""
        _operations()
        imported("gateway.console.audit:record")

    def __getitem__(self, name: str) -> Command:
        return partial(_answers, self._here, _operations()[name])

    def __iter__(self) -> Iterator[str]:
        return iter(_operations())

    def __len__(self) -> int:
        return len(_operations())


def _operations() -> "Mapping[str, Operation]":
    found: Mapping[str, Operation] = imported("gateway.console.table:operations")()
    return found


async def _answers(here: Here, wanted: "Operation", request: Request) -> "Answers":
    from gateway.console.audit import record
    from gateway.console.parameters import Parameter, read_all

    given = {name: value for name, value in request.items() if name != "do"}
    arguments = read_all(wanted.parameters, given, Parameter.read)
    record(wanted, f"{caller.get()} on the control socket", arguments)
    async with aclosing(wanted.answers(here, arguments)) as answers:
        async for answer in answers:
            yield answer
