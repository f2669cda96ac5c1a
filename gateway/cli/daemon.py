"""Runs the daemon in this process, for ``gateway run``."""

from pathlib import Path
from typing import NoReturn

from gateway.cli.building import built_to_run, loaded_to_run, prepare
from gateway.cli.terminal import print_text
from gateway.runtime import process
from gateway.runtime.daemon import Daemon


def run_daemon(file: str, command: str, *, tries: bool) -> NoReturn:
    prepare()
    samples = Path(file).absolute() if tries else None
    process.run(Daemon(built_to_run(loaded_to_run(file)), print_text, command, samples=samples).run())
