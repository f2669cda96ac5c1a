"""Peers by their addresses: which are proxies of ours, and how many connections one has."""

import ipaddress
from collections.abc import Iterable
from typing import Any, Protocol

from protocols.units import UNIX_PEERS

SWEEP = 1024
"""Connections, beside those that were open, after which the books are cleared of what is closed."""


class Open(Protocol):
    """A connection's socket: a real one, or what the loops' transports give in its place."""

    def fileno(self) -> int:
        """Below 0 when it is closed."""


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 peer of an IPv6 socket (::ffff:192.0.2.1) is an IPv4 peer."""
    address = ipaddress.ip_address(host)
    return (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address


class Networks:
    """Addresses, and networks of addresses; ``unix`` stands for whoever may open a Unix socket. Raises ValueError."""

    def __init__(self, texts: Iterable[str]) -> None:
        texts = set(texts)
        self._unix = UNIX_PEERS in texts
        self._networks = [ipaddress.ip_network(text) for text in texts - {UNIX_PEERS}]

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def hold(self, peer: Any) -> bool:
        """Whether ``peer``, as ``accept`` gives it, is one of them."""
        if not isinstance(peer, tuple):
            return self._unix
        if not self._networks:
            return False
        address = _plain(peer[0])
        return any(address in network for network in self._networks)


class Crowd:
    """The open connections of each address: at most ``limit``; 0 for no bound.

    IPv6 counts by /64, which is what one subscriber is given. Nobody has to say that a connection is over: sockets
    know it, and are asked when it matters.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[str, list[Open]] = {}
        self._kept = 0
        self._added = 0

    def admit(self, host: str, connection: Open) -> bool:
        """Count ``connection``, unless its address has ``limit``."""
        if not self._limit:
            return True
        if self._added >= self._kept + SWEEP:
            self._sweep()
        place = self._open.setdefault(place_of(host), [])
        if len(place) >= self._limit:
            place[:] = _still_open(place)
        if len(place) >= self._limit:
            return False
        place.append(connection)
        self._added += 1
        return True

    def _sweep(self) -> None:
        """Once in as many connections as are open, so that it costs each the same however many there are."""
        self._open = {place: still for place, each in self._open.items() if (still := _still_open(each))}
        self._kept, self._added = sum(map(len, self._open.values())), 0


def place_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or an IPv6 /64."""
    if ":" not in host:
        return host
    address = _plain(host)
    return str(address) if address.version == 4 else str(ipaddress.ip_network((int(address), 64), strict=False))


def _still_open(connections: list[Open]) -> list[Open]:
    return [each for each in connections if each.fileno() >= 0]
