"""The commands that work on the store: dead, outgoing, waiting, show. They read of the file the key ``store`` alone."""

import asyncio
import inspect
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from gateway.cli import rendering
from gateway.cli.content import Content, listed
from gateway.cli.history import export, story
from gateway.cli.selection import Filters, Listed, Shelf, Unknown, dead_letters, outgoing_items, pages
from gateway.cli.terminal import (
    AsJSON,
    File,
    command_of,
    complain,
    fail,
    file_of,
    print_json,
    print_list,
    progress,
    say,
)
from gateway.config import checks
from gateway.config.diagnostics import count
from gateway.config.loader import load
from gateway.store import Message, Outgoing, Store, StoreUnavailable, engine_of
from protocols.units import parse_duration

T = TypeVar("T")


class _Type(StrEnum):
    EMAIL = "email"
    MQTT = "mqtt"
    SMS = "sms"


class _State(StrEnum):
    WAITING = "waiting"
    RESTING = "resting"
    LEAVING = "leaving"
    DEAD = "dead"
    DAMAGED = "damaged"


ID = Annotated[str, typer.Argument(metavar="ID", help="An id, or its beginning if that is unique.")]
IDs = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids, or their beginnings if those are unique.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
OfType = Annotated[_Type | None, typer.Option("--type", help="Only this scope type.")]
OfRoute = Annotated[str | None, typer.Option("--route", metavar="TEXT", help="Only if the route contains this.")]
To = Annotated[str | None, typer.Option("--recipient", metavar="TEXT", help="Only if a recipient contains this.")]
WithError = Annotated[str | None, typer.Option("--error", metavar="TEXT", help="Only if the error contains this.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="AGE", help="Only what came within this time: 30m, 2h, 3d.")
]
Before = Annotated[
    str | None, typer.Option("--before", metavar="AGE", help="Only what came longer ago than this: 2h, 3d.")
]
InState = Annotated[_State | None, typer.Option("--state", help="Only in this state.")]
Raw = Annotated[bool, typer.Option("--content", help="Print the message itself, raw.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
FILTERS = "--type, --route, --recipient, --error, --since, --before"


# Which, and of which store.


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
    return replace(_filters(**others), state=state.value if state else None)


def _moment(option: str, age: str | None) -> float | None:
    try:
        return None if age is None else time.time() - parse_duration(age)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _filtered(command: Callable[..., None], *, states: bool = False) -> Callable[..., None]:
    """``command``, whose ``filters`` are options of the command line, each declared once, above."""
    own = inspect.signature(command, eval_str=True).parameters
    options = dict(inspect.signature(_filters, eval_str=True).parameters)
    if states:
        options |= {"state": inspect.signature(_outgoing_filters, eval_str=True).parameters["state"]}
    make = _outgoing_filters if states else _filters

    @wraps(command)
    def filtered(**given: Any) -> None:
        filters = make(**{name: given.pop(name) for name in options})
        command(**given, filters=filters)

    which = [each for each in own.values() if each.name in ("folder", "ids", "everything")]
    how = [each for each in own.values() if each not in which and each.name != "filters"]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*which, *options.values(), *how)]
    filtered.__dict__["__signature__"] = inspect.Signature(parameters)
    filtered.__annotations__ = {each.name: each.annotation for each in parameters}
    return filtered


@dataclass(frozen=True)
class _Choice:
    """What a command is for: things that are named, or those that filters let pass."""

    ids: list[str]
    filters: Filters

    async def of(self, shelf: Shelf[Any, Any]) -> list[str]:
        return await (shelf.named(self.ids) if self.ids else shelf.ids(self.filters))


def _choice(ids: list[str] | None, filters: Filters, *, everything: bool, states: bool) -> _Choice:
    if sum([bool(ids), everything, filters != Filters()]) != 1:
        which = f"{FILTERS}, --state" if states else FILTERS
        raise typer.BadParameter(f"write ids, or --all, or filters ({which})", param_hint="ID...")
    return _Choice(ids or [], filters)


def _with_store(config: str | None, work: Callable[[Store], Awaitable[T]]) -> T:
    """What ``work`` makes of the store that the file names; nothing else of the file needs to be right."""
    draft = load(file_of(config))
    if (wrong := list(checks.store(draft))) or draft.spoiled("store"):
        draft.finish(wrong)
    os.chdir(draft.document.folder)
    engine = engine_of(draft.settings.store)
    if not engine.exists():  # made here, it would belong to this user, and not to the daemon's
        fail(f"there is no store yet at {engine}: no message was kept", 1)
    try:
        return asyncio.run(_opened(engine.store(), work))
    except StoreUnavailable as error:
        fail(f"the store cannot be used: {error}", 1)
    except Unknown as error:
        fail(str(error), 1)


async def _opened(store: Store, work: Callable[[Store], Awaitable[T]]) -> T:
    if found := await store.open():
        complain(found)
    try:
        return await work(store)
    finally:
        await store.close()


# What the groups of commands have alike: list, show, retry, drop.


@dataclass(frozen=True)
class _Group:
    """What a group of commands works on, and how it talks about that. ``help`` has its own words for each command."""

    noun: str
    columns: rendering.Columns
    shelf: Callable[[Store], Shelf[Any, Any]]
    retried: Callable[[int], str]
    help: dict[str, str]
    states: bool = False
    """Whether its things may be in several states, which one can ask for."""

    def app(self) -> typer.Typer:
        app = typer.Typer(help=self.help[""], no_args_is_help=True)
        app.command("list", help=self.help["list"])(self._filtered(self._list))
        app.command("show", help=self.help["show"])(self._show())
        for name, command in (("retry", self._retry), ("drop", self._drop), ("export", self._export)):
            app.command(name, help=self.help[name])(self._filtered(command))
        return app

    def _filtered(self, command: Callable[..., None]) -> Callable[..., None]:
        return _filtered(command, states=self.states)

    def _list(self, filters: Filters, config: File = None, as_json: AsJSON = False) -> None:
        _list(config, lambda store: self.shelf(store).listed, self.columns, self.noun, filters, as_json=as_json)

    def _show(self) -> Callable[..., None]:
        def command(id: ID, content: Raw = False, config: File = None, as_json: AsJSON = False) -> None:
            kept = _with_store(config, lambda store: self.shelf(store).get(id))
            if content:
                _print_content(kept)
            elif as_json:
                print_json(rendering.told(kept))
            else:
                say("\n".join(rendering.letter(kept, time.time())))

        return command

    def _retry(self, filters: Filters, ids: IDs = None, everything: All = False, config: File = None) -> None:
        choice = _choice(ids, filters, everything=everything, states=self.states)
        say(self.retried(_with_store(config, lambda store: _retry(self.shelf(store), choice))))

    def _drop(
        self, filters: Filters, ids: IDs = None, everything: All = False, yes: Yes = False, config: File = None
    ) -> None:
        choice = _choice(ids, filters, everything=everything, states=self.states)
        say(f"{_with_store(config, lambda store: _drop(self.shelf(store), choice, yes=yes))} dropped")

    def _export(
        self,
        filters: Filters,
        folder: Annotated[Path, typer.Argument(metavar="DIR", resolve_path=True, file_okay=False)],
        ids: IDs = None,
        everything: All = False,
        config: File = None,
    ) -> None:
        choice = _choice(ids, filters, everything=everything, states=self.states)
        try:
            say(f"{_with_store(config, lambda store: _export(self.shelf(store), choice, folder))} written to {folder}")
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}", 1)


def _list(
    config: str | None,
    kept: Callable[[Store], Sequence[Listed[Any]]],
    columns: rendering.Columns,
    noun: str,
    filters: Filters,
    *,
    as_json: bool,
) -> None:
    """On the terminal, or for programs."""

    async def work(store: Store) -> None:
        found = pages(kept(store), filters)
        if as_json:
            await print_list(_items(found))
            return
        async for line in rendering.table(found, columns, noun, time.time()):
            say(line)

    _with_store(config, work)


async def _items(found: AsyncIterator[list[Any]]) -> AsyncIterator[dict[str, Any]]:
    async for page in found:
        for kept in page:
            yield listed(kept)


async def _retry(shelf: Shelf[Any, Any], choice: _Choice) -> int:
    chosen = await choice.of(shelf)
    with progress("retry", len(chosen)) as advance:
        return await shelf.retry(chosen, advance)


async def _drop(shelf: Shelf[Any, Any], choice: _Choice, *, yes: bool) -> int:
    chosen = await choice.of(shelf)
    if chosen and not yes:
        typer.confirm(f"Drop {count(len(chosen), shelf.noun)} for good?", abort=True, err=True)
    with progress("drop", len(chosen)) as advance:
        return await shelf.drop(chosen, advance)


async def _export(shelf: Shelf[Any, Any], choice: _Choice, folder: Path) -> int:
    chosen = await choice.of(shelf)
    with progress("export", len(chosen)) as advance:
        return await export(shelf.whole, folder, chosen, advance)


def _print_content(kept: Message | Outgoing) -> None:
    try:
        sys.stdout.buffer.write(Content.of(kept).raw())
    except ValueError as error:
        fail(f"{kept.id}: {error}", 1)


# gateway dead, gateway outgoing

dead_app = _Group(
    "dead letter",
    rendering.DEAD,
    dead_letters,
    lambda number: f"{number} {'waits' if number == 1 else 'wait'} again",
    {
        "": "Work on dead letters: messages whose last attempt failed, and items that handlers sent and that will "
        "never leave. Safe while the gateway runs.\n\n"
        "Example: gateway dead list --since 2h && gateway dead retry --since 2h",
        "list": "List the dead letters: messages that arrived, then outgoing items.\n\n"
        "Examples: gateway dead list --type email --since 2h · gateway dead list --error 'no such user' --json",
        "show": "Show all of a dead letter but its content: where it came from or goes to, and its error.\n\n"
        "Examples: gateway dead show 7f3a · gateway dead show 7f3a-0 --content > message.eml",
        "retry": "Let dead letters wait again: when the daemon runs, messages that arrived go through its present "
        "routes, with all their attempts, and outgoing items are sent.\n\n"
        "Examples: gateway dead retry 7f3a · gateway dead retry --route tickets --since 2h · gateway dead retry --all",
        "drop": "Drop dead letters for good. Asks first; exit code 1 if the answer is no.\n\n"
        "Examples: gateway dead drop 7f3a · gateway dead drop --error 'opted out' --before 30d --yes",
        "export": "Write one file a dead letter: ID.eml for mail, ID.json for the rest, bytes as base64. They stay in "
        "the store.\n\n"
        "Examples: gateway dead export letters 7f3a · gateway dead export letters --type email",
    },
).app()
outgoing_app = _Group(
    "outgoing item",
    rendering.OUTGOING,
    outgoing_items,
    lambda number: f"{number} to be tried now",
    {
        "": "Work on outgoing items, which handlers sent and which have not left: each waits, rests because its "
        "account is refused, is dead because it was refused for good, or is damaged. Safe while the gateway runs.\n\n"
        "Example: gateway outgoing list --type email && gateway outgoing retry --type email",
        "list": "List the items that have not left, and why: to whom they go, attempts, next try, the last error.\n\n"
        "Examples: gateway outgoing list --state resting · gateway outgoing list --recipient @example.net --json",
        "show": "Show all of an outgoing item but its content: to whom it goes, and why it has not left.\n\n"
        "Examples: gateway outgoing show 7f3a · gateway outgoing show 7f3a --content > message.eml",
        "retry": "Try items now: those that wait, those that rest (their account is tried again) and those that are "
        "dead (their time begins again). Damaged ones cannot be sent.\n\n"
        "Examples: gateway outgoing retry 7f3a · gateway outgoing retry --error 'relay access denied'",
        "drop": "Drop outgoing items for good: they are never sent. Asks first; exit code 1 if the answer is no."
        "\n\nExamples: gateway outgoing drop 7f3a · gateway outgoing drop --state dead --before 30d --yes",
        "export": "Write one file an item: ID.eml for mail, ID.json for the rest, bytes as base64. They stay in the "
        "store.\n\n"
        "Examples: gateway outgoing export unsent 7f3a · gateway outgoing export unsent --state dead",
    },
    states=True,
).app()


# gateway waiting, gateway show


def _waiting(filters: Filters, config: File = None, as_json: AsJSON = False) -> None:
    """List the messages that wait for a handler or run in one, and why: attempts, next try, the last error.

    Examples: gateway waiting --type mqtt · gateway waiting --json
    """
    _list(config, lambda store: [store.waiting], rendering.WAITING, "message", filters, as_json=as_json)


waiting = _filtered(_waiting)


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="A message's id, as log lines have it, or a beginning.")],
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Tell a message's story: what happened to it, when, and where it is now.

    Example: gateway show 7f3a9c2k4b
    """
    told = _with_store(config, lambda store: story(store, id))
    if as_json:
        print_json(rendering.story_data(told))
    else:
        say("\n".join(rendering.story(told, command_of(config), time.time())))
