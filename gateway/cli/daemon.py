"""Runs the daemon in this process, for ``gateway run``."""

from pathlib import Path
from typing import NoReturn

from gateway.cli.building import Reading, built_to_run, loaded_to_run, prepare
from gateway.cli.terminal import print_text
from gateway.runtime import process
from gateway.runtime.code_reload import NextProcess, Running
from gateway.runtime.daemon import Daemon
from gateway.runtime.launch import Launch
from protocols.lazy_names import imported


def run_daemon(file: str, command: str, launch: Launch, *, tries: bool) -> NoReturn:
    prepare()
    samples = Path(file).absolute() if tries else None
    again = Reading(file)  # before the file's folder is the current one
    parsed = loaded_to_run(file)
    if parsed.settings.workers > 1:
        imported("gateway.workers.parent:run_parent")(file, parsed.settings, parsed.document.folder, launch)
    gateway = built_to_run(parsed)
    successor = imported("gateway.reload.successor:Successor")  # later its file may be that of another release

    def start_next(running: Running) -> NextProcess:
        started: NextProcess = successor.start(launch, running)
        return started

    process.run(Daemon(gateway, print_text, command, samples=samples, start_next=start_next, again=again).run())
