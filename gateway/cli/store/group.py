"""What ``gateway dead`` and ``gateway outgoing`` have in common: list, show, retry, drop, export."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.forms import Typer
from gateway.cli.options import AsJSON, File, Limit
from gateway.cli.store import rendering
from gateway.cli.store.export import export
from gateway.cli.store.listing import print_entries
from gateway.cli.store.options import ID, All, Choice, IDs, Raw, Yes, choice_of, with_filters
from gateway.cli.store.session import with_store
from gateway.cli.terminal import fail, print_json, print_text, progress
from gateway.config.diagnostics import count
from gateway.console.kept.content import Content, details_data
from gateway.console.kept.pages import Changing, Matching, Named
from gateway.console.kept.selection import Change, Filters, Selection
from gateway.store import Message, OperatorStore, Outgoing


@dataclass(frozen=True)
class CommandGroup:
    """What a group of commands works on, and its words. ``help`` has a text for each command, and one for all."""

    noun: str
    columns: rendering.Columns
    selection: Callable[[OperatorStore], Selection[Any, Any]]
    retried: Callable[[int], str]
    """The answer of ``retry``."""
    help: dict[str, str]
    states: bool = False
    """Whether its entries may be in several states, for which one can ask."""

    def app(self) -> typer.Typer:
        app = Typer(help=self.help[""])
        commands: dict[str, Callable[..., None]] = {
            "list": with_filters(self._list, states=self.states),
            "show": self._show(),
            "retry": with_filters(self._retry, states=self.states),
            "drop": with_filters(self._drop, states=self.states),
            "export": with_filters(self._export, states=self.states),
        }
        for name, command in commands.items():
            app.command(name, help=self.help[name])(command)
        return app

    def _choice(self, ids: list[str] | None, filters: Filters, *, everything: bool) -> Choice:
        return choice_of(ids, filters, everything=everything, states=self.states)

    def _list(self, filters: Filters, limit: Limit = None, config: File = None, as_json: AsJSON = False) -> None:
        print_entries(
            config,
            lambda store: self.selection(store).listings,
            self.columns,
            self.noun,
            filters,
            limit,
            as_json=as_json,
        )

    def _show(self) -> Callable[..., None]:
        def command(id: ID, content: Raw = False, config: File = None, as_json: AsJSON = False) -> None:
            item = with_store(config, lambda store: self.selection(store).get(id))
            if content:
                _print_content(item)
            elif as_json:
                print_json(details_data(item))
            else:
                print_text("\n".join(rendering.details(item, time.time())))

        return command

    def _retry(self, filters: Filters, ids: IDs = None, everything: All = False, config: File = None) -> None:
        choice = self._choice(ids, filters, everything=everything)
        print_text(self.retried(with_store(config, lambda store: _retry(self.selection(store), choice))))

    def _drop(
        self, filters: Filters, ids: IDs = None, everything: All = False, yes: Yes = False, config: File = None
    ) -> None:
        choice = self._choice(ids, filters, everything=everything)
        print_text(f"{with_store(config, lambda store: _drop(self.selection(store), choice, yes=yes))} dropped")

    def _export(
        self,
        filters: Filters,
        folder: Annotated[Path, typer.Argument(metavar="DIR", resolve_path=True, file_okay=False)],
        ids: IDs = None,
        everything: All = False,
        config: File = None,
    ) -> None:
        choice = self._choice(ids, filters, everything=everything)
        try:
            number = with_store(config, lambda store: _export(self.selection(store), choice, folder))
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}", 1)
        print_text(f"{number} written to {folder}")


async def _retry(selection: Selection[Any, Any], choice: Choice) -> int:
    return await _change("retry", await choice.of(selection), selection.requeue)


async def _drop(selection: Selection[Any, Any], choice: Choice, *, yes: bool) -> int:
    chosen = await choice.of(selection, exactly=not yes)  # an answer is for those that were asked about
    if chosen.count and not yes:
        typer.confirm(f"Drop {count(chosen.count, selection.noun)} for good?", abort=True, err=True)
    return await _change("drop", chosen, selection.forget)


async def _change(what: str, chosen: Named | Matching, change: Change) -> int:
    changing = Changing(change)
    with progress(what, chosen.count) as advance:
        async for done in changing.batches(chosen):
            advance(done)
    return changing.changed


async def _export(selection: Selection[Any, Any], choice: Choice, folder: Path) -> int:
    chosen, written = await choice.of(selection), 0
    with progress("export", chosen.count) as advance:
        async for ids in chosen.ids():
            written += await export(selection.read, folder, ids, advance)
    return written


def _print_content(item: Message | Outgoing) -> None:
    try:
        sys.stdout.buffer.write(Content.of(item).raw())
    except ValueError as error:
        fail(f"{item.id}: {error}", 1)
