"""Peers by their addresses: which of them are our proxies, and how many connections each may have."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Protocol

from protocols.units import UNIX_PEERS

_MINUTE = 60.0
_ROUNDING = 1e-6
"""Seconds that sums of floats may be off."""
_MOST_ADDRESSES = 10_000
"""Addresses whose rate is known; the one that came longest ago is forgotten first."""
SWEEP = 1024
"""New connections, in addition to those still open at the last sweep, after which closed ones are dropped."""


class Socket(Protocol):
    """A connection's socket: a real one, or the object that a loop's transport gives in its place."""

    def fileno(self) -> int:
        """Return a number below 0 once the socket is closed."""


@lru_cache(maxsize=1024)  # it takes microseconds, and is asked for each request
def plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse ``host``. Raises ValueError. An IPv4 peer of an IPv6 socket (::ffff:192.0.2.1) is an IPv4 peer."""
    address = ipaddress.ip_address(host)
    return (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address


def is_near(host: str) -> bool:
    """Whether ``host`` is this machine."""
    return plain(host).is_loopback


class Networks:
    """Addresses and networks; ``unix`` stands for every peer on a Unix socket. Raises ValueError."""

    def __init__(self, texts: Iterable[str]) -> None:
        texts = set(texts)
        self._unix = UNIX_PEERS in texts
        self._networks = [ipaddress.ip_network(text) for text in texts - {UNIX_PEERS}]

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def hold(self, peer: Any) -> bool:
        """Whether ``peer``, as ``accept`` returns it, is in one of them."""
        if not isinstance(peer, tuple):
            return self._unix
        if not self._networks:
            return False
        address = plain(peer[0])
        return any(address in network for network in self._networks)


class AddressLimit:
    """Allows each address at most ``limit`` open connections; 0 means no limit.

    IPv6 addresses count by /64, which is what one subscriber gets. No server has to report that a connection is over:
    a socket knows whether it is closed, and is asked when that matters.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: dict[str, list[Socket]] = {}
        self._kept = 0
        self._added = 0

    def admit(self, host: str, connection: Socket) -> bool:
        """Count ``connection``, unless its address has ``limit`` already; return whether it was counted."""
        if not self.limit:
            return True
        if self._added >= self._kept + SWEEP:
            self._sweep()
        connections = self._open.setdefault(address_group(host), [])
        if len(connections) >= self.limit:
            connections[:] = _still_open(connections)
        if len(connections) >= self.limit:
            return False
        connections.append(connection)
        self._added += 1
        return True

    def _sweep(self) -> None:
        """Drop closed connections. The more are open, the rarer the sweeps: each connection costs the same."""
        self._open = {group: still for group, each in self._open.items() if (still := _still_open(each))}
        self._kept, self._added = sum(map(len, self._open.values())), 0


class AddressRate:
    """Allows each address ``limit`` events a minute, all at once or spread over it; 0 means no limit.

    IPv6 addresses count by /64. The clock is the loop's kind: monotonic, in seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.refused = 0
        """Events that were one too many."""
        self.limit = limit
        self._clock = clock
        self._used_until: OrderedDict[str, float] = OrderedDict()
        """Address -> the time at which its events are used up, each of which takes a part of the minute."""

    def admit(self, host: str) -> bool:
        """Count an event of ``host``, unless it is one too many; return whether it was counted."""
        if not self.limit:
            return True
        group, now = address_group(host), self._clock()
        until = max(now, self._used_until.get(group, now)) + _MINUTE / self.limit
        if until > now + _MINUTE + _ROUNDING:
            self.refused += 1
            return False
        self._used_until[group] = until
        self._used_until.move_to_end(group)
        if len(self._used_until) > _MOST_ADDRESSES:
            self._used_until.popitem(last=False)
        return True

    def pause(self, host: str) -> float:
        """Return the seconds until an event of ``host`` is admitted again; 0 if one would be now."""
        if not self.limit:
            return 0.0
        now = self._clock()
        return max(0.0, self._used_until.get(address_group(host), now) + _MINUTE / self.limit - now - _MINUTE)


@lru_cache(maxsize=1024)
def address_group(host: str) -> str:
    """The addresses that count as one: an IPv4 address by itself, or an IPv6 /64."""
    if ":" not in host:
        return host
    address = plain(host)
    return str(address) if address.version == 4 else str(ipaddress.ip_network((int(address), 64), strict=False))


def _still_open(connections: list[Socket]) -> list[Socket]:
    return [each for each in connections if each.fileno() >= 0]
