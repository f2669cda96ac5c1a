"""Options that many commands have."""

from typing import Annotated

import typer

from gateway.cli.terminal import Chosen

File = Annotated[
    str | None,
    typer.Option("-c", "--config", metavar="FILE", help="Default: $GATEWAY_CONFIG, or ./gateway.yaml."),
]


def _choose_json(wanted: bool) -> bool:
    Chosen.as_json = wanted
    return wanted


AsJSON = Annotated[
    bool, typer.Option("--json", callback=_choose_json, help="For programs: one JSON document on standard output.")
]


AsJSONLines = Annotated[
    bool, typer.Option("--json", callback=_choose_json, help="For programs: one JSON object on each line.")
]
