"""What commands share that list, show and remove what the running gateway has: clients, sessions, retained messages."""

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.cells import cell
from gateway.cli.completion import given_file, quiet
from gateway.cli.options import last_line
from gateway.cli.running import control_places
from gateway.cli.terminal import fail, print_json, print_text
from gateway.config.diagnostics import count
from gateway.control.client import Answer, Conversation
from gateway.runtime.banner import columns

PAGE = 1000
"""Entries that a gateway gives at a time at most."""

Columns = Mapping[str, Callable[[Mapping[str, Any], float], str]]
"""Heading -> function that gives the cell of an entry, at the present time."""

Number = Annotated[int, typer.Option("-n", "--limit", min=1, metavar="N", help="Show N at most.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def taking(options: Callable[..., dict[str, Any]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of ``options``, whose result it gets as its parameter ``filters``."""
    theirs = inspect.signature(options, eval_str=True).parameters

    def of(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [each for each in signature.parameters.values() if each.name != "filters"]

        @wraps(command)
        def with_options(**given: Any) -> None:
            command(filters=options(**{name: given.pop(name) for name in theirs}), **given)

        parameters = sorted([*own, *theirs.values()], key=lambda each: each.name in ("config", "as_json"))
        with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer looks there
        return with_options

    return of


def ask(places: Sequence[Path], do: str, **parameters: Any) -> list[Answer]:
    """Return what each gateway that runs with the file answers. Raises ControlError."""
    with Conversation(places, {"do": do, **parameters}) as conversation:
        return list(conversation.answers())


def print_found(
    config: str | None, noun: str, shown: Columns, filters: Mapping[str, Any], number: int, *, as_json: bool
) -> None:
    """List entries as a table, or as one JSON document."""
    places = control_places(config)
    entries, total = _entries(places, f"{noun}.list", filters, number)
    if as_json:
        print_json({"entries": entries, "total": total})
        return
    rows = [[cell(show(each, time.time())) for show in shown.values()] for each in entries]
    for line in columns([list(shown), *rows]) if rows else ():
        print_text(line)
    print_text(last_line(len(entries), total, f"{total} in total"))


def _entries(
    places: Sequence[Path], do: str, filters: Mapping[str, Any], number: int
) -> tuple[list[dict[str, Any]], int]:
    """Return so many entries, page by page, and how many there are. Of several gateways each gives its first page."""
    entries: list[dict[str, Any]] = []
    after = None
    while True:
        answers = ask(places, do, **filters, limit=min(PAGE, number - len(entries)), after=after)
        entries += [entry for each in answers for entry in each["entries"]]
        total = sum(each["total"] for each in answers)
        after = answers[0]["next"] if len(answers) == 1 else None
        if after is None or len(entries) >= number:
            return entries, total


def print_details(
    config: str | None, do: str, names: Mapping[str, Any], lines: Callable[[Any], Iterator[str]], *, as_json: bool
) -> None:
    """Show everything about entries; the command ends with exit code 1 if there is none."""
    found = [entry for each in ask(control_places(config), do, **names) for entry in each["entries"]]
    if as_json:
        print_json(found)
    for entry in found if not as_json else ():
        print_text("\n".join(lines(entry)))
    if not found:
        fail("there is none by that name", 1)


def remove(config: str | None, do: str, verb: str, noun: str, chosen: Mapping[str, Any], *, yes: bool) -> None:
    """Count what the filters find, ask, and remove it. ``verb``: ``disconnect``."""
    wanted = {name: value for name, value in chosen.items() if value is not None}
    places = control_places(config)
    if not yes:
        found = sum(each["found"] for each in ask(places, do, **wanted, dry_run=True))
        if not found:
            print_text(f"no {noun} fits")
            return
        typer.confirm(f"{verb.capitalize()} {count(found, noun)}?", abort=True, err=True)
    removed = sum(each["removed"] for each in ask(places, do, **wanted))
    print_text(f"{removed} {verb.removesuffix('e')}ed")


def table(shown: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each row, of the values with these names, below their headings."""
    if rows:
        yield from columns([list(shown.values()), *([_value(row[name]) for name in shown] for row in rows)])


def facts(entry: Mapping[str, Any], names: Mapping[str, str], **written: str) -> Iterator[str]:
    """A line for each value that the entry has, below ``names``, or as it is ``written``."""
    yield from columns(
        [[title, written.get(name) or _value(entry[name])] for name, title in names.items() if name in entry]
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "-"
    return cell(str(value)) if value not in (None, "") else "-"


def completes(do: str, key: str, parameter: str, pattern: str) -> Callable[[typer.Context, str], list[str]]:
    """Let the shell complete the ``key`` of what the running gateway lists, asked for with ``pattern``, in which ``{}``
    is what stands there by now."""

    @quiet
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        request = {"do": do, parameter: pattern.format(incomplete), "limit": 100}
        with Conversation(control_places(given_file(ctx)), request) as conversation:
            answers = list(conversation.answers(1.0))
        found = [str(each[key]) for answer in answers for each in answer["entries"] if each[key]]
        return [each for each in dict.fromkeys(found) if each.isprintable()]

    return complete
