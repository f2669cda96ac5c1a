"""What commands share that talk to the running gateway by its control socket."""

import os
from pathlib import Path

from gateway.cli.terminal import SERVED, file_of
from gateway.config.loader import load
from gateway.control.place import places, sockets


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
    return places(Path(), parsed.document.name, parsed.settings.store)
