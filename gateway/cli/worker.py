"""Runs the daemon as one of several workers, for ``workers: N``."""

from pathlib import Path
from typing import NoReturn

from gateway.cli.building import Reading, built_to_run, prepare
from gateway.cli.terminal import print_text
from gateway.config.loader import parse
from gateway.config_file import name_for_children
from gateway.runtime import process
from gateway.runtime.launch import Launch
from gateway.workers.daemon import WorkerDaemon
from gateway.workers.link import Link


def run_worker(file: str, command: str, launch: Launch, *, tries: bool) -> NoReturn:
    """``launch``: how this process was started, which its parent knows."""
    prepare()
    link = Link.of_environment()
    samples = Path(file).absolute() if tries else None
    again = Reading(file)  # before the file's folder is the current one
    text, folder = link.begin()
    parsed = parse(text, name=file, folder=Path(folder))  # what the other workers have, whatever the file says now
    name_for_children(file)
    gateway = built_to_run(
        parsed, lambda errors: link.say("failed", why=str(errors.diagnostics[0].message)), warns=link.is_first
    )
    process.run(WorkerDaemon(gateway, print_text, command, link, samples=samples, again=again).run())
