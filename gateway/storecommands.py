"""The commands that work on the store: dead, outgoing, waiting, show. They read of the file the key ``store`` alone."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from gateway import checks, deadpage
from gateway.content import Content, listed
from gateway.deadletters import export, story
from gateway.findings import count
from gateway.loader import load
from gateway.shelf import Filters, Listed, Shelf, Unknown, dead_letters, outgoing_items, pages
from gateway.store import open_store
from gateway.store.engine import Message, Outgoing, Store, StoreUnavailable
from gateway.terminal import AsJSON, File, command_of, complain, fail, file_of, print_json, print_list, progress, say
from protocols.units import parse_duration

T = TypeVar("T")


class _Type(StrEnum):
    EMAIL = "email"
    MQTT = "mqtt"
    SMS = "sms"


ID = Annotated[str, typer.Argument(metavar="ID", help="Or a unique beginning of one.")]
IDs = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Or unique beginnings of ids.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
OfType = Annotated[_Type | None, typer.Option("--type", help="Only these.")]
OfRoute = Annotated[str | None, typer.Option("--route", metavar="TEXT", help="Only of routes that have this in them.")]
Since = Annotated[str | None, typer.Option("--since", metavar="AGE", help="Only what arrived since: 30m, 2h, 3d.")]
Raw = Annotated[bool, typer.Option("--content", help="Print the message itself, raw.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


# Which, and of which store.


def _filters(kind: _Type | None, route: str | None, since: str | None) -> Filters:
    try:
        moment = time.time() - parse_duration(since) if since is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from error
    return Filters(kind.value if kind else None, route, moment)


@dataclass(frozen=True)
class _Choice:
    """What a command is for: things that are named, or those that filters let pass."""

    ids: list[str]
    filters: Filters

    async def of(self, shelf: Shelf[Any, Any]) -> list[str]:
        return await (shelf.named(self.ids) if self.ids else shelf.ids(self.filters))


def _choice(ids: list[str] | None, filters: Filters, *, everything: bool) -> _Choice:
    if sum([bool(ids), everything, filters != Filters()]) != 1:
        raise typer.BadParameter("write ids, or --all, or filters (--type, --route, --since)", param_hint="which")
    return _Choice(ids or [], filters)


def _with_store(config: str | None, work: Callable[[Store], Awaitable[T]]) -> T:
    """What ``work`` makes of the store that the file names; nothing else of the file needs to be right."""
    draft = load(file_of(config))
    if (wrong := list(checks.store(draft))) or draft.spoiled("store"):
        draft.finish(wrong)
    os.chdir(draft.document.folder)
    url = draft.settings.store
    if not Path(place := url.partition(":")[2]).exists():  # made here, it would be ours, and not the daemon's user's
        fail(f"there is no store yet at {place}: no message was kept", 1)
    try:
        return asyncio.run(_opened(url, work))
    except StoreUnavailable as error:
        fail(f"the store cannot be used: {error}", 1)
    except Unknown as error:
        fail(str(error), 1)


async def _opened(url: str, work: Callable[[Store], Awaitable[T]]) -> T:
    store = open_store(url)
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
    columns: deadpage.Columns
    listed: Callable[[Store], Listed[Any]]
    shelf: Callable[[Store], Shelf[Any, Any]]
    data: Callable[[Any], dict[str, Any]]
    lines: Callable[[Any], list[str]]
    retried: Callable[[int], str]
    help: dict[str, str]

    def app(self) -> typer.Typer:
        app = typer.Typer(help=self.help[""], no_args_is_help=True)
        commands = {"list": self._list(), "show": self._show(), "retry": self._retry(), "drop": self._drop()}
        for name, command in commands.items():
            app.command(name, help=self.help[name])(command)
        return app

    def _list(self) -> Callable[..., None]:
        def command(
            kind: OfType = None,
            route: OfRoute = None,
            since: Since = None,
            config: File = None,
            as_json: AsJSON = False,
        ) -> None:
            _list(config, self.listed, self.columns, self.noun, _filters(kind, route, since), as_json=as_json)

        return command

    def _show(self) -> Callable[..., None]:
        def command(id: ID, content: Raw = False, config: File = None, as_json: AsJSON = False) -> None:  # noqa: A002
            kept = _with_store(config, lambda store: self.shelf(store).get(id))
            if content:
                _print_content(kept)
            elif as_json:
                print_json(self.data(kept))
            else:
                say("\n".join(self.lines(kept)))

        return command

    def _retry(self) -> Callable[..., None]:
        def command(
            ids: IDs = None,
            everything: All = False,
            kind: OfType = None,
            route: OfRoute = None,
            since: Since = None,
            config: File = None,
        ) -> None:
            choice = _choice(ids, _filters(kind, route, since), everything=everything)
            say(self.retried(_with_store(config, lambda store: _retry(self.shelf(store), choice))))

        return command

    def _drop(self) -> Callable[..., None]:
        def command(
            ids: IDs = None,
            everything: All = False,
            kind: OfType = None,
            route: OfRoute = None,
            since: Since = None,
            yes: Yes = False,
            config: File = None,
        ) -> None:
            choice = _choice(ids, _filters(kind, route, since), everything=everything)
            say(f"{_with_store(config, lambda store: _drop(self.shelf(store), choice, yes=yes))} dropped")

        return command


def _list(
    config: str | None,
    kept: Callable[[Store], Listed[Any]],
    columns: deadpage.Columns,
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
        async for line in deadpage.table(found, columns, noun, time.time()):
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


def _print_content(kept: Message | Outgoing) -> None:
    try:
        sys.stdout.buffer.write(Content.of(kept).raw())
    except ValueError as error:
        fail(f"{kept.id}: {error}", 1)


# gateway dead, gateway outgoing

dead_app = _Group(
    "dead letter",
    deadpage.DEAD,
    lambda store: store.dead,
    dead_letters,
    deadpage.told,
    deadpage.letter,
    lambda number: f"{number} {'waits' if number == 1 else 'wait'} again",
    {
        "": "Work on dead letters: messages whose last attempt failed. Safe while the gateway runs.\n\n"
        "Example: gateway dead list --since 2h && gateway dead retry --since 2h",
        "list": "List the dead letters, oldest first.\n\n"
        "Examples: gateway dead list --type email --since 2h · gateway dead list --json",
        "show": "Show all of a dead letter but its content: where it came from, and what it failed with.\n\n"
        "Examples: gateway dead show 7f3a · gateway dead show 7f3a --content > message.eml",
        "retry": "Let dead letters wait again: they run through today's routes when the daemon runs, with all their "
        "attempts.\n\n"
        "Examples: gateway dead retry 7f3a · gateway dead retry --route tickets --since 2h · gateway dead retry --all",
        "drop": "Drop dead letters for good. Asks first; exit code 1 where the answer is no.\n\n"
        "Examples: gateway dead drop 7f3a · gateway dead drop --type mqtt --yes",
    },
).app()
outgoing_app = _Group(
    "outgoing item",
    deadpage.WAITING,
    lambda store: store.outgoing,
    outgoing_items,
    deadpage.told_outgoing,
    lambda item: deadpage.outgoing_letter(item, time.time()),
    lambda number: f"{number} to be tried now",
    {
        "": "Work on what handlers sent and what has not left: it waits, or is damaged. Safe while the gateway runs."
        "\n\nExample: gateway outgoing list --type email && gateway outgoing retry --type email",
        "list": "List what has not left, and why: attempts, next try, the last error.\n\n"
        "Examples: gateway outgoing list --type sms · gateway outgoing list --json",
        "show": "Show all of an outgoing item but its content: to whom it goes, and why it has not left.\n\n"
        "Examples: gateway outgoing show 7f3a · gateway outgoing show 7f3a --content > message.eml",
        "retry": "Try what waits now, and not only when its time has come. What is damaged cannot be sent.\n\n"
        "Examples: gateway outgoing retry 7f3a · gateway outgoing retry --type sms",
        "drop": "Drop outgoing items for good: they are never sent. Asks first; exit code 1 where the answer is no."
        "\n\nExamples: gateway outgoing drop 7f3a · gateway outgoing drop --type mqtt --yes",
    },
).app()


@dead_app.command("export")
def dead_export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", resolve_path=True, file_okay=False)],
    ids: IDs = None,
    everything: All = False,
    kind: OfType = None,
    route: OfRoute = None,
    since: Since = None,
    config: File = None,
) -> None:
    """Write one file a dead letter: ID.eml for email, ID.json for the rest, bytes as base64. They stay in the store.

    Examples: gateway dead export letters 7f3a · gateway dead export letters --type email
    """
    choice = _choice(ids, _filters(kind, route, since), everything=everything)

    async def work(store: Store) -> int:
        chosen = await choice.of(dead_letters(store))
        with progress("export", len(chosen)) as advance:
            return await export(store, folder, chosen, advance)

    try:
        say(f"{_with_store(config, work)} written to {folder}")
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", 1)


# gateway waiting, gateway show


def waiting(
    kind: OfType = None, route: OfRoute = None, since: Since = None, config: File = None, as_json: AsJSON = False
) -> None:
    """List the messages that wait for a handler or run in one, and why: attempts, next try, the last error.

    Examples: gateway waiting --type mqtt · gateway waiting --json
    """
    filters = _filters(kind, route, since)
    _list(config, lambda store: store.waiting, deadpage.WAITING, "message", filters, as_json=as_json)


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="A message's id, as log lines have it, or a beginning.")],  # noqa: A002
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Tell a message's story: what happened to it, when, and where it is now.

    Example: gateway show 7f3a9c2k4b
    """
    told = _with_store(config, lambda store: story(store, id))
    if as_json:
        print_json(deadpage.story_data(told))
    else:
        say("\n".join(deadpage.story(told, command_of(config), time.time())))
