"""What trusted proxies say of a request: its client, and the URL by which the client asked for it.

Each proxy appends what it sees to the fields, behind whatever its client has sent. So they are read from the right, and
only as far as the addresses are those of trusted proxies. What stands before the first other address may be a lie.
There are two families, the ``X-Forwarded-`` fields and ``Forwarded`` (RFC 7239), of which one is read: a proxy that
writes one passes on the other as its client has sent it.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Final, Literal, NamedTuple

from protocols.asgi import HostPort
from protocols.net.addresses import Networks, plain

TrustedHeader = Literal[
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "forwarded",
]
FORWARDED: Final = "forwarded"
USUAL: Final[tuple[TrustedHeader, ...]] = ("x-forwarded-for", "x-forwarded-proto")
"""What nearly every proxy writes."""
MOST = 32
"""Proxies that a request may have come through. What stands before them is not looked at."""
_PIECES = 4 * MOST
"""Parts between commas that are looked at in ``Forwarded``."""
LAST_PORT = 65535
_PORTS = {"http": 80, "https": 443}
_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
_NODE_PORT = r"(?::(?:(\d{1,5})|_[\w.\-]+))?"
_WITH_PORT = re.compile(rf"\[([^\]%]+)\]{_NODE_PORT}|([^:%\[\]]+){_NODE_PORT}", re.ASCII)
"""An address with its port, which may be obfuscated (RFC 7239, 6)."""
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~]+)(?::(\d{1,5}))?", re.ASCII)
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[\w\-.~!$&'()*+;=:@]+)+", re.ASCII)
"""A path of plain segments, none of which is ``.`` or ``..``."""
_LONGEST_PREFIX = 256
_ESCAPED = re.compile(r"\\.")
_PAIR = re.compile(
    r"""\s*([\w!#$%&'*+\-.^`|~]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))\s*(?:;|$)""",
    re.ASCII,
)

Headers = list[tuple[bytes, bytes]]


def header_mistake(proxies: Collection[str], headers: Collection[str]) -> str:
    """Return what is wrong with the settings ``trusted_proxies`` and ``trusted_headers``; empty: nothing."""
    if not headers:
        return "trusted_headers: write at least one field; without proxies leave out trusted_proxies"
    if FORWARDED in headers and len(set(headers)) > 1:
        return (
            "trusted_headers: write forwarded alone, or x-forwarded- fields alone: a proxy that writes one of the two "
            "passes on the other as its client has sent it"
        )
    if not proxies and tuple(headers) != USUAL:
        return "trusted_headers: write trusted_proxies, too: the addresses of the proxies that are believed"
    return ""


class Origin(NamedTuple):
    """A request as its client sent it, as far as that is known."""

    client: HostPort | None
    scheme: str
    """``http`` or ``https``."""
    server: tuple[str, int | None] | None
    root_path: str
    headers: Headers


class Told(NamedTuple):
    """What the proxies say, in their words. Empty: nothing."""

    client: HostPort | None
    scheme: str
    host: str = ""
    port: str = ""
    prefix: str = ""


class TrustedProxies:
    """Proxies by their addresses and networks (``unix``: all peers on a Unix socket), and the fields that they write.

    Raises ValueError for a text that is not a network.
    """

    def __init__(self, texts: Iterable[str], headers: Collection[str] = USUAL) -> None:
        self._networks = Networks(texts)
        self._reads_forwarded = FORWARDED in headers
        self._names = frozenset(name.encode() for name in headers)

    def origin(self, request: Origin) -> Origin:
        """Return what is known of ``request``, which has the facts of its connection: the same, unless that comes from
        a trusted proxy.

        The client is the last address that does not belong to a trusted proxy; if all do, the first one. Its port is 0
        unless the proxy names one. What is not valid counts as not said.
        """
        if not self._trust(request.client):
            return request
        told = (self._read_forwarded if self._reads_forwarded else self._read_fields)(request)
        scheme = _SCHEMES.get(told.scheme.lower(), request.scheme)
        server, headers = _server(told, scheme, request)
        return Origin(told.client, scheme, server, _root_path(told.prefix, request.root_path), headers)

    def _trust(self, peer: HostPort | None) -> bool:
        return self._networks.hold(peer if peer is not None else "")

    def _read_fields(self, request: Origin) -> Told:
        def values(name: bytes) -> list[str]:
            return _values(request.headers, name) if name in self._names else []

        client, hops = self._client(reversed(values(b"x-forwarded-for")), request.client)

        def of_the_client(name: bytes) -> str:
            found = values(name)  # one for all, or one for each address
            return found[-min(hops, len(found))] if found else ""

        return Told(
            client,
            scheme=of_the_client(b"x-forwarded-proto"),
            host=of_the_client(b"x-forwarded-host"),
            port=of_the_client(b"x-forwarded-port"),
            prefix=of_the_client(b"x-forwarded-prefix"),
        )

    def _read_forwarded(self, request: Origin) -> Told:
        elements = list(_elements(request.headers))
        client, hops = self._client((each.get("for", "") for each in elements), request.client)
        ours = elements[:hops][::-1]  # that of the proxy that saw the client is the first
        scheme, host = (next((each[key] for each in ours if key in each), "") for key in ("proto", "host"))
        return Told(client, scheme, host)

    def _client(self, addresses: Iterable[str], peer: HostPort | None) -> tuple[HostPort | None, int]:
        """Return the client, and the number of ``addresses`` that can be trusted, at least 1. The address from the last
        proxy comes first."""
        client, hops = peer, 1
        for number, text in enumerate(addresses, start=1):
            hops = number
            if (address := _address(text)) is None:
                break  # what stands before it is not known to be true, either
            client = address
            if not self._trust(address):
                break
        return client, hops


def _server(told: Told, scheme: str, request: Origin) -> tuple[tuple[str, int | None] | None, Headers]:
    """Return the host and port by which the client called, and the fields with a Host that says the same."""
    port = int(told.port) if told.port.isdecimal() and len(told.port) <= 5 else 0
    port = port if port <= LAST_PORT else 0
    authority = _AUTHORITY.fullmatch(told.host)
    if authority is None and port:
        host = next((value for name, value in request.headers if name == b"host"), b"")
        authority = _AUTHORITY.fullmatch(host.decode("latin-1"))
    if authority is None or int(authority[2] or 1) not in range(1, LAST_PORT + 1):
        return request.server, request.headers
    usual = _PORTS[scheme]
    called = authority[0] if not port else authority[1] + (f":{port}" if port != usual else "")
    others = [field for field in request.headers if field[0] != b"host"]
    server = authority[1].strip("[]"), port or int(authority[2] or usual)
    return server, [(b"host", called.encode()), *others]


def _root_path(prefix: str, own: str) -> str:
    """Return the path below which the proxy publishes the server."""
    path = prefix.rstrip("/")
    if prefix and not path:
        return ""
    return path if len(path) <= _LONGEST_PREFIX and _PREFIX.fullmatch(path) else own


def _values(headers: Headers, name: bytes) -> list[str]:
    """Return the last members of a list, which may be in several fields (RFC 9110, 5.3)."""
    joined = b",".join([value for key, value in headers if key == name])
    return [each.strip() for each in joined.decode("latin-1").rsplit(",", MOST)[-MOST:]] if joined else []


def _elements(headers: Headers) -> Iterator[dict[str, str]]:
    """Yield the parameters of each proxy's element of ``Forwarded``, from the right; none of a malformed one."""
    fields = [value.decode("latin-1") for key, value in headers if key == b"forwarded"]
    for text in islice(_split(reversed(fields)), MOST):
        if text.strip():  # RFC 9110, 5.6.1: a list may have empty elements
            yield _parameters(text)


def _split(fields: Iterable[str]) -> Iterator[str]:
    """Split each field at its commas outside of quotes, from the right: a quote that a client has left open must not
    change what a proxy has written behind it. A client may also send thousands of commas: most are left unread."""
    left = _PIECES
    for field in fields:
        pieces: list[str] = []
        quotes = 0
        for piece in reversed(field.rsplit(",", left)):
            if not left:
                return
            left -= 1
            pieces.append(piece)
            quotes += _ESCAPED.sub("", piece).count('"')
            if quotes % 2 == 0:
                yield ",".join(reversed(pieces))
                pieces, quotes = [], 0
        if pieces:
            yield ",".join(reversed(pieces))


def _parameters(element: str) -> dict[str, str]:
    """Return the parameters of ``element`` by their names in lower case; none if it is malformed (RFC 7239, 4)."""
    found: dict[str, str] = {}
    at, element = 0, element.rstrip()
    while at < len(element):
        pair = _PAIR.match(element, at)
        if pair is None or (name := pair[1].lower()) in found:
            return {}
        found[name] = pair[3] or _ESCAPED.sub(lambda escape: escape[0][1], pair[2] or "")
        at = pair.end()
    return found


@lru_cache(maxsize=1024)  # it takes microseconds, and most clients come again
def _address(text: str) -> HostPort | None:
    """Read ``192.0.2.7``, ``2001:db8::7``, ``192.0.2.7:4711`` or ``[2001:db8::7]:4711``; None: it is something else,
    such as ``unknown`` or an obfuscated name (RFC 7239, 6)."""
    host, port = text, "0"
    if (found := _WITH_PORT.fullmatch(text)) is not None:
        host, port = found[1] or found[3], found[2] or found[4] or "0"
    try:
        # A zone (fe80::1%eth0) may be any text, and means nothing on another machine.
        return (str(plain(host)), int(port)) if int(port) <= LAST_PORT and "%" not in host else None
    except ValueError:
        return None
