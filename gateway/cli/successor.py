"""Runs the daemon in the place of the process that has started this one, for ``gateway reload --code``."""

from typing import NoReturn

from gateway.cli.building import Reading, built_to_run, loaded_to_run, prepare
from gateway.cli.terminal import print_text
from gateway.config.diagnostics import ConfigErrors
from gateway.reload.hand_over import HandOver
from gateway.reload.successor import Successor
from gateway.reload.successor_daemon import SuccessorDaemon
from gateway.runtime import process
from gateway.runtime.code_reload import Running
from gateway.runtime.importing import place_of
from gateway.runtime.launch import Launch
from protocols.errors import describe_error


def run_successor(file: str, command: str, launch: Launch, *, tries: bool) -> NoReturn:
    """Samples are not sent again, where the command line says that it ``tries``."""
    prepare()
    hand_over = HandOver.of_environment()
    again = Reading(file)  # before the file's folder is the current one

    def tell(errors: ConfigErrors) -> None:
        hand_over.failed(errors.with_end("The new code was not started."))

    try:
        parsed = loaded_to_run(file)
    except ConfigErrors as errors:
        tell(errors)
        raise
    try:
        gateway = built_to_run(parsed, tell)
    except Exception as error:  # the release or a plugin of it is broken; of several reasons the first one counts
        hand_over.failed(f"cannot start: {describe_error(error)}{place_of(error)}")
        raise

    def start_next(running: Running) -> Successor:
        return Successor.start(launch, running, hand_over.waits)

    daemon = SuccessorDaemon(gateway, print_text, command, hand_over, start_next=start_next, again=again)
    process.run(daemon.run())
