"""Whom a trusted proxy names as the client of a request: ``X-Forwarded-For`` and ``X-Forwarded-Proto``.

Each proxy appends the address that it sees to ``X-Forwarded-For``, behind whatever its client has sent. So only what
stands to the right of the first address that is no proxy of ours is known to be true. ``Forwarded`` (RFC 7239) is not
read: a proxy that writes one of the two passes on the other as its client has sent it.
"""

import re
from collections.abc import Iterable

from protocols.asgi import HostPort
from protocols.net.addresses import Networks, plain

FOR, PROTO = b"x-forwarded-for", b"x-forwarded-proto"
MOST = 32
"""Addresses that are looked at."""
LAST_PORT = 65535
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::(\d{1,5}))?|([^:]+):(\d{1,5})")
_SECURE = {"http": "http", "ws": "http", "https": "https", "wss": "https"}

Headers = Iterable[tuple[bytes, bytes]]


class Proxies:
    """Proxies of ours, as addresses and networks; ``unix``: all peers on a Unix socket. Raises ValueError."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks = Networks(texts)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def origin(self, peer: HostPort | None, scheme: str, headers: Headers) -> tuple[HostPort | None, str]:
        """Return the client of a request and its scheme, ``http`` or ``https``.

        They are ``peer`` and ``scheme``, those of the connection, unless that comes from a proxy. The client is the
        last address that is no proxy of ours; the first one if all are. Where the proxy names no port, it is 0.
        """
        if not self._hold(peer):
            return peer, scheme
        client, hops = peer, 1
        told = _values(headers, FOR)
        for number, text in enumerate(reversed(told[-MOST:]), start=1):
            if (address := _address(text)) is None:
                break  # what stands before it is not known to be true, either
            client, hops = address, number
            if not self._hold(address):
                break
        if schemes := _values(headers, PROTO):  # one for all, or one for each address
            scheme = _SECURE.get(schemes[-min(hops, len(schemes))].lower(), scheme)
        return client, scheme

    def _hold(self, peer: HostPort | None) -> bool:
        return self._networks.hold(peer if peer is not None and peer[1] is not None else "")


def _values(headers: Headers, name: bytes) -> list[str]:
    """Return the members of a list, which may be in several fields (RFC 9110, 5.3)."""
    joined = b",".join([value for key, value in headers if key == name])
    return [each.strip() for each in joined.decode("latin-1").split(",")] if joined else []


def _address(text: str) -> HostPort | None:
    """Read ``192.0.2.7``, ``2001:db8::7``, ``192.0.2.7:4711`` or ``[2001:db8::7]:4711``."""
    host, port = text, "0"
    if (found := _WITH_PORT.fullmatch(text)) is not None:
        host, port = found[1] or found[3], found[2] or found[4] or "0"
    try:
        return (str(plain(host)), int(port)) if int(port) <= LAST_PORT else None
    except ValueError:
        return None
