"""The listening sockets of all workers, which the parent binds and keeps.

On Linux each TCP address has a socket for each slot (SO_REUSEPORT), so that the system shares out connections evenly.
A worker and its successor have the same one, and what waits in it is not lost between the two. Unix sockets, inherited
ones and addresses of servers that live once have one queue for all.
"""

import asyncio
import contextlib
import errno
import os
import socket
import sys
from collections.abc import Collection
from dataclasses import dataclass

from gateway.runtime.systemd import notify
from protocols.errors import BindError
from protocols.net.listener import bound, reason
from protocols.net.passed import stored, stored_name
from protocols.units import TCP, BindAddress, Unix

SHARES = sys.platform == "linux"
"""Whether the system shares out the connections of one address among the sockets that have it."""
PATIENCE = 3.0
"""Seconds for the workers of a parent that was killed to leave an address."""
_AGAIN = 0.1


Place = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
"""An address as the system has it."""


@dataclass(frozen=True)
class Wanted:
    """What a server listens on."""

    bind: BindAddress
    server: str = ""
    """The server's name, if the system chooses the port."""
    once: bool = False
    """Whether the server lives once."""


class Sockets:
    """Keeps what ``count`` workers listen on."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: dict[Wanted, list[list[socket.socket]]] = {}
        """What each slot has; one list, if all have the same."""
        self._binding = asyncio.Lock()
        self._stored: set[str] = set()
        """The names of those that systemd keeps."""

    async def of(self, slot: int, wanted: Wanted, *, backlog: int, private: bool) -> list[socket.socket]:
        """Return the sockets of a slot, bound when they are asked for first. Raises BindError."""
        async with self._binding:
            if wanted not in self._kept:
                try:
                    self._kept[wanted] = await self._bound(wanted, backlog, private=private)
                except OSError as error:
                    raise BindError(f"{wanted.bind}: {reason(wanted.bind, error)}") from error
        kept = self._kept[wanted]
        return kept[slot % len(kept)]

    async def _bound(self, wanted: Wanted, backlog: int, *, private: bool) -> list[list[socket.socket]]:
        match wanted.bind:
            case TCP() as address:
                if kept := self._of_systemd(address, 1 if wanted.once else self._count):
                    return kept
                return await _bound_tcp(address, backlog, self._count if SHARES and not wanted.once else 1)
            case other:
                return [await bound(other, backlog, private=private)]

    def _of_systemd(self, address: TCP, count: int) -> list[list[socket.socket]]:
        """Return what an earlier parent has stored for an address; empty if that is not enough for each slot."""
        found = stored().get(stored_name(address), []) if os.environ.get("NOTIFY_SOCKET") else []
        addresses: dict[object, list[socket.socket]] = {}
        for each in found:
            addresses.setdefault(each.getsockname(), []).append(each)
        if found and any(len(each) != count for each in addresses.values()):  # there are more workers now, or fewer
            self._forget(stored_name(address))
            return []
        stored().pop(stored_name(address), None)
        return [list(of_slot) for of_slot in zip(*addresses.values(), strict=True)]

    def keep(self, wanted: Collection[Wanted]) -> None:
        """Close what no worker listens on any more."""
        for each in self._kept.keys() - set(wanted):
            self._close(each)

    def store(self) -> None:
        """Let systemd keep the sockets of TCP addresses over a restart."""
        if not os.environ.get("NOTIFY_SOCKET"):
            return
        names = {stored_name(each.bind): each for each in self._kept if isinstance(each.bind, TCP) and each.bind.port}
        for name in (self._stored | stored().keys()) - names.keys():
            self._forget(name)
        for name in names.keys() - self._stored:
            for of_slot in self._kept[names[name]]:
                notify(f"FDSTORE=1\nFDNAME={name}", of_slot)
        self._stored = set(names)

    def _forget(self, name: str) -> None:
        """Let systemd keep nothing of that name."""
        notify(f"FDSTOREREMOVE=1\nFDNAME={name}")
        for each in stored().pop(name, []):
            each.close()

    def close(self) -> None:
        """Close everything: connections are refused now, unless systemd keeps the socket."""
        for each in list(self._kept):
            self._close(each)

    def _close(self, wanted: Wanted) -> None:
        for of_slot in self._kept.pop(wanted):
            for each in of_slot:
                each.close()
        if isinstance(wanted.bind, Unix):
            with contextlib.suppress(OSError):
                os.unlink(wanted.bind.path)


async def _bound_tcp(address: TCP, backlog: int, count: int) -> list[list[socket.socket]]:
    """Return the sockets of ``count`` slots: each has one for each address of a host name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as on_error:
        of_addresses = []
        for family, place in dict.fromkeys((family, place) for family, _, _, _, place in found):
            of_addresses.append(await _of_address(family, place, backlog, count))
            for each in of_addresses[-1]:
                on_error.callback(each.close)
        on_error.pop_all()
    return [list(of_slot) for of_slot in zip(*of_addresses, strict=True)]


async def _of_address(family: int, place: Place, backlog: int, count: int) -> list[socket.socket]:
    """Raises OSError. An address that another program has is refused, also if that would share it."""
    with _open(family, place, shares=False) if place[1] == 0 else contextlib.nullcontext() as chosen:
        exact: Place = place if chosen is None else chosen.getsockname()
    await _until_free(family, exact)
    with contextlib.ExitStack() as on_error:
        sockets = []
        for _ in range(count):
            sockets.append(on_error.enter_context(_open(family, exact, shares=count > 1)))
            sockets[-1].listen(backlog)
        on_error.pop_all()
    return sockets


async def _until_free(family: int, place: Place) -> None:
    """Wait while workers of a parent that was killed end. Raises OSError."""
    ends = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            _open(family, place, shares=False).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or asyncio.get_running_loop().time() > ends:
                raise
            await asyncio.sleep(_AGAIN)
        else:
            return


def _open(family: int, place: Place, *, shares: bool) -> socket.socket:
    """Return a socket that is bound, and does not listen."""
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(place)
        opened.settimeout(0)
    except OSError:
        opened.close()
        raise
    return opened
