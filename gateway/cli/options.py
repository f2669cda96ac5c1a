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


Limit = Annotated[
    int | None,
    typer.Option("-n", "--limit", min=1, metavar="N", help="Show N at most; default: 50, and with --json all."),
]
SHOWN = 50
"""How many entries a table has without ``-n``."""


def last_line(shown: int, total: int, whole: str) -> str:
    """Return the line below a table: ``whole``, or how many entries are not shown."""
    return f"{shown} of {total}; -n {total} shows all" if shown < total else whole


AsJSONLines = Annotated[
    bool, typer.Option("--json", callback=_choose_json, help="For programs: one JSON object on each line.")
]
