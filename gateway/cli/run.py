"""``gateway run``: the daemon."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.building import built_to_run
from gateway.cli.terminal import File, command_of, file_of, print_text
from gateway.config.loader import load
from gateway.logs import uncaught
from gateway.runtime import process, signals
from gateway.runtime.daemon import Daemon


def run(
    config: File = None,
    tries: Annotated[bool, typer.Option("--try", help="Send a sample of each kind, and show what came of it.")] = False,
) -> None:
    """Run the gateway until SIGTERM or Ctrl+C.

    Exit codes: 0 stopped; 1 stopped by a second signal; 2 mistake in the file; 3 cannot start.

    Example: gateway run -c /etc/gateway/gateway.yaml
    """
    signals.ignore()  # before anything of the application is imported, so that a module's own handler stays
    uncaught.take_over()
    file, command = file_of(config), command_of(config)
    samples = Path(file).absolute() if tries else None
    process.run(Daemon(built_to_run(load(file)), print_text, command, samples=samples).run())
