"""Files and folders that only their owner may read, whatever the umask: they hold people's mail and texts."""

import contextlib
import os
import secrets
from pathlib import Path

_FILE, _FOLDER = 0o600, 0o700


def make_folder(folder: Path) -> None:
    """Make ``folder`` and its missing parents. An existing folder keeps its mode. Raises OSError."""
    if not folder.is_dir():
        make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(_FOLDER)


def create(path: Path) -> None:
    """Create an empty file unless it exists. Raises OSError.

    Root creates it for the folder's owner, as SQLite does with its journal: a command that repairs a service's store
    must not take it away from the service.
    """
    # An existing file is not opened: closing it would release the locks that SQLite has on it (fcntl(2)).
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE)
        try:
            if os.geteuid() == 0:
                folder = path.parent.stat()
                os.fchown(fd, folder.st_uid, folder.st_gid)
        finally:
            os.close(fd)


def write(path: Path, content: bytes) -> None:
    """Write ``content`` to the file at ``path``. Raises OSError."""
    create(path)
    tighten(path)
    path.write_bytes(content)


def replace(path: Path, content: bytes) -> None:
    """Write ``content`` to the file at ``path`` as a whole, in a folder that is made if need be, and on disk when this
    returns: a reader never sees a part. Raises OSError."""
    make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")  # several writers at once are possible
    try:
        write(unfinished, content)
        sync(unfinished)
        os.replace(unfinished, path)
        sync(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Let what is written to a file, or the names in a folder, be on disk. Raises OSError."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def is_open_to_all(path: Path) -> bool:
    """Whether users who are neither the file's owner nor in its group may do something with it."""
    try:
        return bool(path.stat().st_mode & 0o007)
    except FileNotFoundError:
        return False


def tighten(path: Path) -> None:
    """Make a file private. Raises OSError if it belongs to another user."""
    path.chmod(_FILE)
