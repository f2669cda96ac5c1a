"""Where control sockets lie: beside the store or, if the gateway has none, beside its file.

Each daemon has a socket of its own, such as ``gateway.db.4711.sock``: several can have one store.
"""

import os
import re
from pathlib import Path

from gateway.store import engine_of

_SUFFIX = ".sock"
_SOCKET = re.compile(rf"(?P<beside>.+)\.(?P<process>\d+)(-\d+)?{re.escape(_SUFFIX)}")


def places(folder: Path, file: str, store: str) -> list[Path]:
    """Return the files beside which the daemons of ``file`` may have their sockets. ``folder`` is where it lies,
    ``store`` is the URL of its store."""
    path = engine_of(store).path
    return [folder / each for each in ([] if path is None else [path]) + [Path(file).name]]


def sockets(beside: Path) -> list[Path]:
    """Return the sockets that lie beside the file of that name, also those of daemons that have died."""
    name = re.compile(rf"{re.escape(beside.name)}\.\d+(-\d+)?{re.escape(_SUFFIX)}")
    return sorted(path for path in beside.parent.glob(f"*{_SUFFIX}") if name.fullmatch(path.name))


def of_processes_in(folder: Path) -> list[Path]:
    """Return the files beside which processes that work in ``folder`` have sockets, wherever those lie: a daemon works
    in the folder of its file. Empty where the system does not list sockets as Linux does."""
    try:
        lines = Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    names = {line.rpartition(" ")[2] for line in lines if line.endswith(_SUFFIX)}
    found = [match for name in names if (match := _SOCKET.fullmatch(name)) and _works_in(match["process"], folder)]
    return sorted({folder / match["beside"] for match in found})


def _works_in(process: str, folder: Path) -> bool:
    try:
        return Path(f"/proc/{process}/cwd").resolve() == folder.resolve()
    except OSError:  # it has ended, or is another user's
        return False


def socket_path(beside: Path, parent: int | None = None) -> Path:
    """Return a free path for the socket of this process, in the folder of ``beside``. Those of workers begin with the
    number of their ``parent``."""
    process, number = (os.getpid(), 1) if parent is None else (parent, os.getpid())
    own = str(process) if parent is None else f"{parent}-{number}"
    while (path := beside.with_name(f"{beside.name}.{own}{_SUFFIX}")).exists():  # of a process in another container
        number += 1
        own = f"{process}-{number}"
    return path


def process_of(path: Path) -> str:
    """Return the number in the name of a socket: all workers of a gateway have that of their parent."""
    found = _SOCKET.fullmatch(path.name)
    return found["process"] if found is not None else ""
