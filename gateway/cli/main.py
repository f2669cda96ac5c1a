"""The command `gateway`."""

import os
import signal
import sys

from gateway.cli.start import plain_run, start
from gateway.cli.terminal import fail, prepare_standard_streams
from gateway.config.diagnostics import ConfigErrors
from gateway.exit_codes import INTERRUPTED
from gateway.garbage_collection import start_up
from protocols.lazy_names import imported


def main() -> None:
    """Run the command. A handled error ends it with a message and an exit code, never with a traceback."""
    _end_at_sigterm()
    prepare_standard_streams()
    try:
        if (file := plain_run(sys.argv[1:])) is not None:
            start(*file)
        start_up()  # until the command begins: see :class:`gateway.cli.forms.Command`
        imported("gateway.cli.root:command")()()
    except ConfigErrors as errors:
        building = "gateway.cli.building"  # loads most of the gateway: only who reads a file does
        imported(f"{building}:print_mistakes")(errors)
        sys.exit(imported(f"{building}:code_of")(errors))
    except KeyboardInterrupt as error:
        fail(" ".join(["interrupted", *map(str, error.args)]), INTERRUPTED)


def _end_at_sigterm() -> None:
    """Let SIGTERM end the first process of a container as it ends any other, until the daemon has a handler of its own.
    The kernel gives no signal to a process 1 that has no handler for it: `docker stop` would wait, and kill it."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))
