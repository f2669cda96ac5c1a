"""``gateway run``: the daemon."""

from typing import Annotated

import typer

from gateway.cli.options import File
from gateway.cli.start import start

Tries = Annotated[bool, typer.Option("--try", help="Send a sample of each kind, and show what came of it.")]
Reload = Annotated[
    bool, typer.Option("--reload", help="For development: start anew when a handler, a template or the file changes.")
]


def run(config: File = None, tries: Tries = False, reload: Reload = False) -> None:
    """Run the gateway until SIGTERM or Ctrl+C.

    With --reload a new process starts when you save a file. A mistake is shown, and what ran before keeps running.

    Exit codes: 0 stopped; 1 stopped by a second signal; 2 mistake in the file; 3 cannot start.

    Examples: gateway run -c /etc/gateway/gateway.yaml · gateway run --reload
    """
    start(config, tries=tries, reload=reload)
