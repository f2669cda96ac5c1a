"""What commands share that talk to the running gateway by its control socket."""

import os
from pathlib import Path

from gateway.cli.terminal import SERVED, file_of
from gateway.config.diagnostics import ConfigErrors
from gateway.config.loader import load
from gateway.config.settings import Settings
from gateway.control.client import ControlError, Conversation
from gateway.control.place import of_processes_in, places, sockets

_PATIENCE = 2.0
"""Seconds for a gateway to say which file it runs with."""


def control_places(config: str | None) -> list[Path]:
    """Return the files beside which the control socket may be, and make the file's folder the current one. Nothing in
    the file but ``store`` needs to be right: the gateway that runs was started with an earlier version. `gateway serve`
    has no file."""
    file = file_of(config)
    if not Path(file).exists() and sockets(Path(SERVED)):
        return [Path(SERVED)]
    parsed = load(file)
    if parsed.spoiled("store"):
        parsed.finish()
    os.chdir(parsed.document.folder)
    name = parsed.document.name
    named = places(Path(), name, parsed.settings.store)
    return named if any(map(sockets, named)) else _of_another_store(Path(name)) or named


def reload_places(config: str | None) -> list[Path]:
    """Return the same, also where the file cannot be read: the gateway that runs is to say so. Raises ConfigErrors if
    none is found."""
    try:
        return control_places(config)
    except ConfigErrors:
        file = Path(file_of(config)).absolute()
        named = places(file.parent, file.name, Settings.store)
        found = named if any(map(sockets, named)) else _of_another_store(file)
        if not found:
            raise
        return found


def _of_another_store(file: Path) -> list[Path]:
    """Return the files beside which there are gateways that run with ``file``, although it names another store than
    when they started, or cannot be read."""
    return [beside for beside in of_processes_in(file.absolute().parent) if _runs(beside, file.name)]


def _runs(beside: Path, file: str) -> bool:
    try:
        with Conversation([beside], {"do": "status"}) as conversation:
            return any(Path(each["file"]).name == file for each in conversation.answers(_PATIENCE))
    except ControlError:
        return False
