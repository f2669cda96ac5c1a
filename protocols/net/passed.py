"""Listening sockets that systemd has passed to this process (sd_listen_fds(3)).

Some are of a .socket unit: they stay open for as long as the process lives, at their numbers. Others were stored there
by an earlier process of this daemon, each under a name that says its address.
"""

import errno
import os
import socket
from collections.abc import Mapping
from functools import cache
from urllib.parse import quote

from protocols.units import TCP

FIRST = 3
"""The descriptor of the first one."""
STORED = "bind="
"""How the names begin of those that this daemon has stored."""


def passed() -> Mapping[int, str]:
    """Return the names of the sockets of .socket units, by descriptor."""
    return {number: name for number, name in _all().items() if not name.startswith(STORED)}


def numbers(which: int | str) -> list[int]:
    """Return the descriptors that ``bind: fd:WHICH`` means. Raises OSError."""
    found = [which] if isinstance(which, int) else [number for number, name in passed().items() if name == which]
    if not found:
        raise OSError(errno.EBADF, f"systemd has passed no socket of the name {which}")
    return found


def stored_name(address: TCP) -> str:
    """Return the name under which the sockets of ``address`` are stored: it must have no colon."""
    return STORED + quote(str(address), safe="[]")


@cache
def stored() -> dict[str, list[socket.socket]]:
    """Return the stored sockets, by name, for who comes first: what is taken out is not there any more."""
    found: dict[str, list[socket.socket]] = {}
    for number, name in _all().items():
        if name.startswith(STORED):
            each = socket.socket(fileno=number)
            each.set_inheritable(False)
            each.settimeout(0)
            found.setdefault(name, []).append(each)
    return found


def _all() -> dict[int, str]:
    count = int(os.environ.get("LISTEN_FDS") or 0)
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return {FIRST + each: names[each] if each < len(names) else "" for each in range(count)}
