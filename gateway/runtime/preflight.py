"""Tries what the file asks of this machine, and leaves nothing behind: ``check`` and ``run`` do it before they start.

It reports only what stays wrong until somebody changes it. An address that another program uses is not reported: it
may be free when the gateway binds it.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.config.diagnostics import Diagnostic
from gateway.config.document import Loc, label
from gateway.config.loader import ParsedConfig
from gateway.scopes.server_kind import is_configured
from gateway.store import engine_of
from protocols.mail.oauth.source import TokenRefused
from protocols.net.listener import reason
from protocols.units import LONGEST_UNIX_PATH, TCP, Unix, parse_address
from protocols.writable import file_fault, folder_fault, try_folder


def diagnostics(parsed: ParsedConfig, *, stored: bool) -> list[Diagnostic]:
    """Return what this machine lacks. ``stored``: something needs the store. Call it in the file's folder."""
    return [*(_store(parsed) if stored else ()), *_log(parsed), *_outbox(parsed), *_keys(parsed), *_addresses(parsed)]


def warnings(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Find what this machine lacks, and may get while the gateway runs: tokens of other programs, people's logins."""
    for loc, account in _accounts(parsed):
        if account.token_file is not None and (fault := _unreadable(Path(account.token_file))):
            message = f"{label((*loc, 'token_file'))}: {account.token_file}: {fault}; it logs in when that is there"
            yield parsed.document.at_value((*loc, "token_file"), message)
        if account.auth is not None and _is_awaited(account):
            command = f"gateway login {loc[:2][-1]}"
            message = f"{label((*loc, 'auth'))}: nobody has logged in as {account.username}; run `{command}`"
            yield parsed.document.at_value((*loc, "auth"), message)


def _store(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    for fault in engine_of(parsed.settings.store).faults():
        yield parsed.document.at_value(("store",), f"store: {fault}")


def _log(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    log = parsed.settings.log
    for key, file in (("file", log.file), ("access_file", log.access_file)):
        if file is not None and (fault := _log_file_fault(Path(file))):
            yield parsed.document.at_value(("log", key), f"log.{key}: {fault}")


def _log_file_fault(file: Path) -> str:
    if file.is_file() or file.is_dir():
        return file_fault(file)
    # A device or a pipe is not tried: that could wait for its reader.
    return "" if file.exists() else folder_fault(file.parent, made=False)


def _outbox(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    url = urlsplit(parsed.settings.submission.url) if parsed.settings.submission is not None else None
    if url is not None and url.scheme == "file" and (fault := folder_fault(Path(url.path))):
        yield parsed.document.at_value(("submission", "url"), f"submission.url: {fault}")


def _keys(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    """Check the key files of logins by OAuth."""
    for loc, account in _accounts(parsed):
        try:
            if account.auth is not None:
                account.auth.check_files()
        except TokenRefused as error:
            yield parsed.document.at_value((*loc, "auth"), f"{label((*loc, 'auth'))}: {error}")


def _accounts(parsed: ParsedConfig) -> Iterator[tuple[Loc, Any]]:
    """Yield each login of the gateway to a server for mail, with its place."""
    holders: dict[Loc, Any] = {("servers", name): each for name, each in parsed.settings.servers.items()}
    for loc, holder in (holders | {("submission",): parsed.settings.submission}).items():
        if hasattr(holder, "token_file") and is_configured(holder):
            yield loc, holder
            for number, account in enumerate(getattr(holder, "accounts", ())):
                yield (*loc, "accounts", number), account


def _is_awaited(account: Any) -> bool:
    try:
        waits: bool = account.auth.waits_for(account.username)
    except TokenRefused:
        return False  # which is an error
    return waits


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def _addresses(parsed: ParsedConfig) -> Iterator[Diagnostic]:
    places: list[tuple[Loc, Any]] = [
        (("servers", name), settings) for name, settings in parsed.settings.servers.items()
    ]
    if parsed.settings.console is not None:
        places.append((("console",), parsed.settings.console))
    for loc, settings in places:
        bind = getattr(settings, "bind", None)
        if bind is None or not is_configured(settings):
            continue
        endpoint = parse_address(bind)
        try:
            match endpoint:
                case TCP(host, port):
                    _try_port(host, port)
                case Unix(path):
                    _try_socket_file(Path(path))
        except OSError as error:
            yield parsed.document.at_value(
                (*loc, "bind"), f"{'.'.join(map(str, loc))}: {endpoint}: {reason(endpoint, error)}"
            )


def _try_port(host: str, port: int) -> None:
    """Raises OSError if the address can never be had. It is bound without listening, so that a peer that connects
    meanwhile is refused as before, and a program that has the address already keeps it."""
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
    if len(os.fsencode(path)) > LONGEST_UNIX_PATH:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path has {LONGEST_UNIX_PATH} bytes at most")
    try_folder(path.parent)
