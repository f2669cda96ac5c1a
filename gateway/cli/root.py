"""The command line that is not a plain `gateway run`. `gateway.cli.commands` lists what there is."""

from typing import Annotated, Any

import typer
from typer.main import get_command

from gateway import __version__
from gateway.cli.commands import Commands
from gateway.cli.forms import Typer
from gateway.cli.options import File
from gateway.cli.terminal import Chosen, print_text

app = Typer(
    help="One daemon for HTTP, WebSocket, MQTT, email and SMS.\n\nExample: gateway check && gateway run",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"gateway {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    config: File = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    Chosen.file = config


def command() -> Any:
    """Return the command with all its commands."""
    made: Any = get_command(app)
    made.commands = Commands()
    return made
