"""What a file asks of this machine, tried without leaving a trace: ``check`` and ``run`` do it before anything starts.

Only what stays wrong until somebody changes it is found: an address that another program has may be free by the time.
"""

import contextlib
import errno
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.config.diagnostics import Finding
from gateway.config.document import Loc
from gateway.config.loader import Draft
from gateway.store.sqlite.sql.schema import TooNew, check_version, version_in
from protocols.net.listener import reason
from protocols.units import TCP, Unix, parse_address

_LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path (unix(7): 108 with the end)."""
_OURS = ("", "-wal", "-shm", ".open.lock", ".next.lock")


def findings(draft: Draft, *, stored: bool) -> list[Finding]:
    """What this machine does not give; ``stored``: something asks for the store. In the file's folder, as it is run."""
    return [*(_store(draft) if stored else ()), *_outbox(draft), *_addresses(draft)]


def _store(draft: Draft) -> Iterator[Finding]:
    path = Path(draft.settings.store.partition(":")[2])
    lacking = [*_writable_folder(draft, ("store",), "store", path.parent)]
    if not lacking and path.is_symlink():  # the folder that it leads to is not made
        lacking = [*_writable_folder(draft, ("store",), "store", path.resolve().parent, made=False)]
    lacking = lacking or [*_writable_files(draft, ("store",), "store", [Path(f"{path}{each}") for each in _OURS])]
    yield from lacking or _known_version(draft, path)


def _known_version(draft: Draft, path: Path) -> Iterator[Finding]:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        try:
            check_version(version_in(file.read(64)))
        except TooNew as error:
            yield draft.document.at_value(("store",), f"store: {path}: {error}")


def _outbox(draft: Draft) -> Iterator[Finding]:
    url = urlsplit(draft.settings.submission.url) if draft.settings.submission is not None else None
    if url is not None and url.scheme == "file":
        yield from _writable_folder(draft, ("submission", "url"), "submission.url", Path(url.path))


def _addresses(draft: Draft) -> Iterator[Finding]:
    places: list[tuple[Loc, Any]] = [(("servers", name), settings) for name, settings in draft.settings.servers.items()]
    if draft.settings.console is not None:
        places.append((("console",), draft.settings.console))
    for loc, settings in places:
        bind = getattr(settings, "bind", None)
        if bind is None or not getattr(settings, "configured", True):
            continue
        endpoint = parse_address(bind)
        try:
            match endpoint:
                case TCP(host, port):
                    _try_port(host, port)
                case Unix(path):
                    _try_socket_file(Path(path))
        except OSError as error:
            yield draft.document.at_value(
                (*loc, "bind"), f"{'.'.join(map(str, loc))}: {endpoint}: {reason(endpoint, error)}"
            )


def _writable_files(draft: Draft, loc: Loc, what: str, paths: list[Path]) -> Iterator[Finding]:
    """Those that are there can be read and written."""
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except FileNotFoundError:
            continue
        except OSError as error:
            yield draft.document.at_value(loc, f"{what}: {path}: {error.strerror}")
            return


def _writable_folder(draft: Draft, loc: Loc, what: str, folder: Path, *, made: bool = True) -> Iterator[Finding]:
    """Files can be made in it, or, where it is ``made`` when it is needed, it can be made itself."""
    above = folder.parents if made else ()
    there = next((each for each in (folder, *above) if os.path.lexists(each)), folder)
    try:
        _try_folder(there)
    except OSError as error:
        yield draft.document.at_value(loc, f"{what}: {there}: {error.strerror}")


def _try_folder(folder: Path) -> None:
    """Raises OSError where nothing can be written there: no right, a read-only file system, no room."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:  # it has no name, or at once none any more
        file.write(b"\0" * 4096)


def _try_port(host: str, port: int) -> None:
    """Raises OSError where the address can never be had. It is not listened on: whoever connects meanwhile is refused
    as before, and who has it already keeps it."""
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                tried.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise


def _try_socket_file(path: Path) -> None:
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(errno.EEXIST, "a file of this name exists, and it is not a socket")
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path has {_LONGEST_SOCKET} bytes at most")
    _try_folder(path.parent)
