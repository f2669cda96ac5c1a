"""Has systemd keep the listening sockets over a restart (FDSTORE=1, FileDescriptorStoreMax=).

Between two processes connections wait in the queues of these sockets, and none is refused. Unix sockets are not kept:
their paths are free for the next process.
"""

import os
from collections.abc import Iterable

from gateway.runtime.systemd import notify
from protocols.net.listener import Listener
from protocols.net.passed import passed, stored, stored_name
from protocols.server import Server
from protocols.units import TCP


class KeptSockets:
    """What systemd keeps of this process. Without systemd nothing is kept, and nothing is done here."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    @property
    def are_kept(self) -> bool:
        """Whether sockets of this process may outlive it."""
        return bool(os.environ.get("NOTIFY_SOCKET") or passed())

    def restore(self, servers: Iterable[Server]) -> None:
        """Let ``servers`` listen on what an earlier process has stored, and forget the rest."""
        if not os.environ.get("NOTIFY_SOCKET"):
            return
        for listener in _listeners(servers):
            if sockets := stored().pop(_name(listener), None):
                listener.inherit(sockets)
        left = list(stored())
        for name in left:
            for each in stored().pop(name):
                each.close()
        self._remove(left)

    def update(self, servers: Iterable[Server]) -> None:
        """Store the sockets of ``servers``, and no others. What is stored already does no harm."""
        if not os.environ.get("NOTIFY_SOCKET"):
            return
        listeners = {_name(each): each for each in _listeners(servers)}
        self._remove(self._names - listeners.keys())
        for name, listener in listeners.items():
            copies = listener.copies()
            notify(f"FDSTORE=1\nFDNAME={name}", copies)
            for each in copies:
                each.close()
        self._names = set(listeners)

    def forget(self) -> None:
        """Store nothing any more: another process does."""
        self._remove(self._names)
        self._names = set()

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            notify(f"FDSTOREREMOVE=1\nFDNAME={name}")


def _listeners(servers: Iterable[Server]) -> list[Listener]:
    """Return the listeners with an address of their own that means the same at the next start."""
    found = [each.listener for each in servers if each.listener is not None]
    return [each for each in found if isinstance(each.bind, TCP) and each.bind.port]


def _name(listener: Listener) -> str:
    assert isinstance(listener.bind, TCP)
    return stored_name(listener.bind)
