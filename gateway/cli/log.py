"""`gateway log`: what the running gateway logs, and from which level on."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from gateway.cli.cells import cell
from gateway.cli.forms import Typer
from gateway.cli.live import ask
from gateway.cli.options import AsJSON, File
from gateway.cli.running import control_places
from gateway.cli.terminal import print_json, print_text
from gateway.runtime.banner import columns

app = Typer(
    help="See the log levels of the running gateway, and change them until the next reload or restart.\n\n"
    "Example: gateway log level debug --logger gateway.delivery && gateway log show"
)


class Level(StrEnum):
    """The lowest level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


Lowest = Annotated[Level, typer.Argument(metavar="LEVEL", help="The lowest level: debug, info, warning or error.")]
Logger = Annotated[
    str,
    typer.Option("--logger", metavar="NAME", help="Only this logger and those below it, such as gateway.delivery."),
]


@app.command()
def show(config: File = None, as_json: AsJSON = False) -> None:
    """Show the level of the log, the loggers with a level of their own, and how many records were lost.

    A record is lost if it cannot be written, for example to a full disk.

    Example: gateway log show --json
    """
    _print(ask(control_places(config), "log"), as_json=as_json)


@app.command()
def level(lowest: Lowest, logger: Logger = "", config: File = None, as_json: AsJSON = False) -> None:
    """Change the level of the log, or of one logger, until the next reload or restart.

    To keep a level, write it into the file: `log: {level: warning, levels: {gateway.delivery: debug}}`.

    Examples: gateway log level debug · gateway log level debug --logger protocols.mqtt
    """
    _print(ask(control_places(config), "log_level", level=lowest.value, logger=logger), as_json=as_json)


def _print(answers: list[Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answers[0] if len(answers) == 1 else answers)
    else:
        print_text("\n".join(line for each in answers for line in _lines(each)))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    rows = [["level", found["level"]], *([cell(name), each] for name, each in found["levels"].items())]
    yield from columns(rows)
    if found["lost"]:
        yield f"{found['lost']} records could not be written"
