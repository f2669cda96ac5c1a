"""``gateway show``: the history of one message."""

import time
from typing import Annotated

import typer

from gateway.cli.options import AsJSON, File
from gateway.cli.store import rendering
from gateway.cli.store.completion import ids
from gateway.cli.store.session import with_store
from gateway.cli.terminal import command_of, print_json, print_text
from gateway.console.kept.history import history_data, history_of


def show(
    id: Annotated[
        str,
        typer.Argument(metavar="ID", help="A message's id, as log lines have it, or a beginning.", autocompletion=ids),
    ],
    config: File = None,
    as_json: AsJSON = False,
) -> None:
    """Show the history of a message: what happened to it, when, and where it is now.

    Example: gateway show 7f3a9c2k4b
    """
    found = with_store(config, lambda store: history_of(store, id))
    if as_json:
        print_json(history_data(found))
    else:
        print_text("\n".join(rendering.history(found, command_of(config), time.time())))
