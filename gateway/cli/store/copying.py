"""``gateway store``: the store as a whole."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.forms import Typer
from gateway.cli.terminal import fail, moving_progress, print_text
from gateway.config.diagnostics import count
from gateway.store import Engine, StoreUnavailable, engine_of
from gateway.store.copying import copy as copy_store

app = Typer(
    help="Work on the store as a whole.\n\nExample: gateway store copy sqlite:var/gateway.db postgresql:///mail"
)
_URL = "A store, as gateway.yaml names it: sqlite:var/gateway.db, postgresql://gateway@db.example.org/mail"
_NOUNS = {
    "messages": "message",
    "claims": "claim",
    "outgoing": "outgoing item",
    "kept": "record of a server",
    "resting": "resting lane",
    "notes": "note",
}


@app.callback()
def _group() -> None:
    """Make this a group, because a Typer app with one command would be that command."""


@app.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help=f"{_URL}. Everything in it stays.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same for a store that holds nothing.")],
) -> None:
    """Copy everything that a store holds into an empty one: messages, dead letters, outgoing items, claims, histories,
    the state of servers. Stop the gateway before, and write TO into its file afterwards.

    The copy is one transaction: if it fails or is interrupted, TO stays empty. If an earlier release wrote FROM, its
    tables are migrated first. A relative path starts in the current folder. A URL does not need a password:
    PGPASSWORD, ~/.pgpass and PGSERVICEFILE work as for psql.

    Examples: gateway store copy sqlite:var/gateway.db postgresql://gateway@db.example.org/mail ·
    gateway store copy postgresql://gateway@db.example.org/mail sqlite:var/gateway.db
    """
    old, new = _engine("FROM", source), _engine("TO", target)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # roll back, as at Ctrl+C
    try:
        if not old.exists():
            fail(f"there is no store at {old}", 1)
        with moving_progress("copying") as advance:
            copied = copy_store(old, new, advance)
    except StoreUnavailable as error:
        fail(f"not copied: {error}", 1)
    told = [count(copied[name], noun) for name, noun in _NOUNS.items() if copied[name]]
    print_text(f"copied {', '.join(told) or 'a store that holds nothing'} to {new}")


def _engine(name: str, url: str) -> Engine:
    if url == "django":
        said = "name the project's database by its URL, postgresql://…; a project's SQLite file cannot be copied"
        raise typer.BadParameter(said, param_hint=name)
    try:
        return engine_of(url, Path.cwd())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=name) from error
