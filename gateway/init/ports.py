"""Gives the files of a template ports that nothing uses on this machine, so that the project runs at once."""

import re
import socket
from collections.abc import Collection, Mapping

from gateway.init.template import Files

_ADDRESS = re.compile(r"\b(127\.0\.0\.1:)(\d+)\b")
_LAST = 65535


def with_free_ports(files: Files) -> tuple[Files, Mapping[int, int]]:
    """Replace each port that is in use by the next free one. Return the files, and what was replaced by what."""
    asked = sorted({int(port) for text in files.values() for _, port in _ADDRESS.findall(text)})
    given: dict[int, int] = {}
    for port in asked:
        given[port] = _next_free(port, {*asked, *given.values()} - {port})
    changed = {
        name: _ADDRESS.sub(lambda found: f"{found[1]}{given[int(found[2])]}", text) for name, text in files.items()
    }
    return changed, {old: new for old, new in given.items() if old != new}


def _next_free(port: int, others: Collection[int]) -> int:
    """Return ``port``, or the first one after it that is free and not among ``others``; ``port`` if there is none."""
    return next((each for each in range(port, _LAST + 1) if each not in others and _is_free(each)), port)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port just left is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
