"""Where the socket is, and which process relays.

A relay makes its socket under a name of its own and renames it to the common one. So the last one that does this is the
relay, also if another one had it: that one sees that the common name is no longer its socket, and gives up. A process
that was stopped (SIGSTOP) and wakes up is no second relay for longer than a moment. A lock keeps several processes from
doing it at once; since a stopped process may hold it, nobody waits for it for long.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from protocols.net.unix_path import address
from protocols.private_files import make_folder, tighten

_NEW = ".new"


def identity(path: Path) -> int:
    """Return a number that changes when another socket is at ``path``; 0 if there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def answers(path: Path) -> bool:
    """Return whether a program listens at ``path``."""
    with socket.socket(socket.AF_UNIX) as trial:
        trial.settimeout(0)
        return trial.connect_ex(address(path)) in (0, errno.EAGAIN)


def listening(path: Path, backlog: int) -> socket.socket:
    """Return a socket that listens at ``path`` in the place of one that may be there. Only its owner may connect.
    Raises OSError."""
    make_folder(path.parent)
    own = path.with_name(f"{path.name}.{secrets.token_hex(3)}{_NEW}")
    made = socket.socket(socket.AF_UNIX)
    try:
        made.bind(address(own))
        tighten(own)
        _give_to_owner(own)
        made.listen(backlog)
        made.settimeout(0)
        own.replace(path)
    except BaseException:
        made.close()
        own.unlink(missing_ok=True)
        raise
    return made


def _give_to_owner(path: Path) -> None:
    """Give what root makes to the owner of the folder, as the store's files are."""
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.chown(path, folder.st_uid, folder.st_gid)


def remove_unfinished(path: Path) -> None:
    """Remove sockets beside ``path`` of processes that died before they could rename them. Call it under the lock."""
    for left in path.parent.glob(f"{path.name}.*{_NEW}"):
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def election(path: Path) -> Iterator[bool]:
    """Yield whether no other process is about to become the relay of ``path``. Raises OSError."""
    make_folder(path.parent)
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _give_lock_to_owner(lock, path.parent)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _give_lock_to_owner(lock: int, folder: Path) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(lock, owner.st_uid, owner.st_gid)
