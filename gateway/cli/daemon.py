"""Runs the daemon in this process, for ``gateway run``."""

from pathlib import Path
from typing import NoReturn

from gateway.cli.building import built_to_run
from gateway.cli.terminal import print_text
from gateway.config.loader import load
from gateway.logs import uncaught
from gateway.reload.daemon import VersionDaemon
from gateway.reload.standby import Standby
from gateway.runtime import process, signals
from gateway.runtime.daemon import Daemon


def run_daemon(file: str, command: str, *, tries: bool) -> NoReturn:
    prepare()
    samples = Path(file).absolute() if tries else None
    process.run(Daemon(built_to_run(load(file)), print_text, command, samples=samples).run())


def run_version(file: str, command: str, *, tries: bool) -> NoReturn:
    """Run it as one of several versions."""
    prepare()
    standby = Standby.of_environment()
    standby.wait()
    samples = Path(file).absolute() if tries else None
    parsed = load(file)
    with standby.reporting(parsed, file):
        gateway = built_to_run(parsed)
    process.run(VersionDaemon(gateway, print_text, command, standby, samples=samples).run())


def prepare() -> None:
    """Prepare this process to be a daemon's. Call this before anything of the application is imported."""
    signals.ignore()  # this early, so that a handler that a module sets stays
    uncaught.take_over()
