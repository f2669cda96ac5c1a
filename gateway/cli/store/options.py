"""The options of the store's commands, each declared once: ids, filters, answers."""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.completion import routes
from gateway.cli.store.completion import ids
from gateway.console.kept.pages import Matching, Named
from gateway.console.kept.selection import Filters, Selection
from gateway.scopes.installed import KINDS
from gateway.store import OutgoingState
from protocols.units import parse_duration

if TYPE_CHECKING:  # the scope types that are installed
    _Type = StrEnum
else:
    _Type = StrEnum("_Type", sorted(kind.name for kind in KINDS.values() if kind.delivery is not None))


ID = Annotated[str, typer.Argument(metavar="ID", help="An id, or its beginning if that is unique.", autocompletion=ids)]
IDs = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID...", help="Ids, or their beginnings if those are unique.", autocompletion=ids),
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
OfType = Annotated[_Type | None, typer.Option("--type", help="Only this scope type.")]
OfRoute = Annotated[
    str | None,
    typer.Option("--route", metavar="TEXT", help="Only if the route contains this.", autocompletion=routes),
]
To = Annotated[str | None, typer.Option("--recipient", metavar="TEXT", help="Only if a recipient contains this.")]
WithError = Annotated[str | None, typer.Option("--error", metavar="TEXT", help="Only if the error contains this.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="AGE", help="Only what came within this time: 30m, 2h, 3d.")
]
Before = Annotated[
    str | None, typer.Option("--before", metavar="AGE", help="Only what came longer ago than this: 2h, 3d.")
]
InState = Annotated[OutgoingState | None, typer.Option("--state", help="Only in this state.")]
Raw = Annotated[bool, typer.Option("--content", help="Print the message itself, raw.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
FILTERS = "--type, --route, --recipient, --error, --since, --before"


def _filters(
    kind: OfType = None,
    route: OfRoute = None,
    recipient: To = None,
    error: WithError = None,
    since: Since = None,
    before: Before = None,
) -> Filters:
    return Filters(
        type=kind.value if kind else None,
        route=route,
        recipient=recipient,
        error=error,
        since=_moment("--since", since),
        before=_moment("--before", before),
    )


def _outgoing_filters(state: InState = None, **others: Any) -> Filters:
    return replace(_filters(**others), state=state)


def _moment(option: str, age: str | None) -> float | None:
    try:
        return None if age is None else time.time() - parse_duration(age)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def with_filters(command: Callable[..., None], *, states: bool = False) -> Callable[..., None]:
    """``command`` with an option for each filter, in place of its parameter ``filters``. ``states``: also --state."""
    own = inspect.signature(command, eval_str=True).parameters
    options = dict(inspect.signature(_filters, eval_str=True).parameters)
    if states:
        options |= {"state": inspect.signature(_outgoing_filters, eval_str=True).parameters["state"]}
    make = _outgoing_filters if states else _filters

    @wraps(command)
    def filtered(**given: Any) -> None:
        filters = make(**{name: given.pop(name) for name in options})
        command(**given, filters=filters)

    first = [each for each in own.values() if each.name in ("folder", "ids", "everything")]
    last = [each for each in own.values() if each not in first and each.name != "filters"]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*first, *options.values(), *last)]
    filtered.__dict__["__signature__"] = inspect.Signature(parameters)
    filtered.__annotations__ = {each.name: each.annotation for each in parameters}
    return filtered


@dataclass(frozen=True)
class Choice:
    """What a command works on: entries that are named, or those that pass the filters."""

    ids: list[str]
    filters: Filters

    async def of(self, selection: Selection[Any, Any], *, exactly: bool = False) -> Named | Matching:
        """Them, counted. ``exactly``: with all ids in memory, so that what matches later is not among them. Raises
        Unknown."""
        if self.ids or exactly:
            ids = await (selection.named(self.ids) if self.ids else selection.ids(self.filters))
            return Named(ids, len(ids))
        found = Matching(selection.listings, self.filters)
        async for _ in found.counting():
            pass
        return found


def choice_of(ids: list[str] | None, filters: Filters, *, everything: bool, states: bool) -> Choice:
    if sum([bool(ids), everything, filters != Filters()]) != 1:
        names = f"{FILTERS}, --state" if states else FILTERS
        raise typer.BadParameter(f"write ids, or --all, or filters ({names})", param_hint="ID...")
    return Choice(ids or [], filters)
