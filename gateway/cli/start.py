"""Starts the daemon, or what watches its files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gateway.cli.terminal import command_of, file_of
from gateway.garbage_collection import start_up
from protocols.lazy_names import imported

VERSION = "GATEWAY_RELOAD"
"""Set if this process is one of several versions: :data:`gateway.reload.version.ENVIRONMENT`."""

WORKER = "GATEWAY_WORKER"
"""Set if this process is one of several workers: :data:`gateway.workers.worker.ENVIRONMENT`."""

SUCCESSOR = "GATEWAY_HAND_OVER"
"""Set if this process takes over from another one: :data:`gateway.reload.successor.ENVIRONMENT`."""


def plain_run(arguments: Sequence[str]) -> list[str] | None:
    """Return the FILE of ``run``, ``run -c FILE`` or ``-c FILE run``, none or one; None for any other command line.

    A daemon starts without the library that reads all others: that takes as long as everything of ours.
    """
    match [*arguments]:
        case ["run"]:
            return []
        case ["run", "-c" | "--config", file] | ["-c" | "--config", file, "run"]:
            return [file]
    return None


def start(config: str | None = None, *, tries: bool = False, reload: bool = False) -> NoReturn:
    """Run the gateway until it is stopped."""
    file = file_of(config)
    if reload and VERSION not in os.environ and Path(file).exists():
        imported("gateway.reload.supervisor:supervise")(file)  # it needs nothing of what follows
    launch = imported("gateway.runtime.launch:Launch").of_process()
    start_up()
    imported(_home())(file, command_of(config), launch, tries=tries)
    raise AssertionError("a daemon does not return")


def _home() -> str:
    """Return what runs in this process."""
    if VERSION in os.environ:
        return "gateway.cli.version_daemon:run_version"
    if WORKER in os.environ:
        return "gateway.cli.worker:run_worker"
    if SUCCESSOR in os.environ:
        return "gateway.cli.successor:run_successor"
    return "gateway.cli.daemon:run_daemon"
