"""Runs the daemon as one of several versions, for ``gateway run --reload``."""

from pathlib import Path
from typing import NoReturn

from gateway.cli.building import built_to_run, loaded_to_run, prepare
from gateway.cli.terminal import print_text
from gateway.reload.daemon import VersionDaemon
from gateway.reload.standby import Standby
from gateway.runtime import process
from gateway.runtime.launch import Launch


def run_version(file: str, command: str, launch: Launch, *, tries: bool) -> NoReturn:
    """``launch``: how this process was started, which its supervisor knows."""
    prepare()
    standby = Standby.of_environment()
    standby.wait()
    samples = Path(file).absolute() if tries else None
    parsed = loaded_to_run(file)
    if parsed.settings.workers > 1:
        print_text(f"workers: {parsed.settings.workers} has no effect with --reload: one process serves")
    with standby.reporting(parsed, file):
        gateway = built_to_run(parsed)
    process.run(VersionDaemon(gateway, print_text, command, standby, samples=samples).run())
