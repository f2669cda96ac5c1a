"""``gateway run``: the daemon."""

import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.terminal import File, command_of, file_of
from gateway.garbage_collection import start_up

Tries = Annotated[bool, typer.Option("--try", help="Send a sample of each kind, and show what came of it.")]
Reload = Annotated[
    bool, typer.Option("--reload", help="For development: start anew when a handler, a template or the file changes.")
]
VERSION = "GATEWAY_RELOAD"
"""Set if this process is one of several versions: :data:`gateway.reload.version.ENVIRONMENT`."""


def run(config: File = None, tries: Tries = False, reload: Reload = False) -> None:
    """Run the gateway until SIGTERM or Ctrl+C.

    With --reload a new process starts when you save a file. A mistake is shown, and what ran before keeps running.

    Exit codes: 0 stopped; 1 stopped by a second signal; 2 mistake in the file; 3 cannot start.

    Examples: gateway run -c /etc/gateway/gateway.yaml · gateway run --reload
    """
    file = file_of(config)
    if reload and VERSION not in os.environ and Path(file).exists():
        from gateway.reload.supervisor import supervise  # it needs nothing of what follows

        supervise(file)
    start_up()
    from gateway.cli.daemon import run_daemon, run_version

    (run_version if VERSION in os.environ else run_daemon)(file, command_of(config), tries=tries)
