"""The PROXY protocol, versions 1 and 2: for whom a proxy connects (haproxy's proxy-protocol.txt).

:func:`missing` and :func:`parse` are pure. The header is read to the byte and no further, so that TLS, or the server's
own protocol, finds what follows it in the socket.
"""

import asyncio
import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from protocols.asgi import HostPort
from protocols.errors import RemoteProtocolError

V1 = b"PROXY "
V2 = b"\r\n\r\n\0\r\nQUIT\n"
SHORTEST = len(b"PROXY UNKNOWN\r\n")
LONGEST_LINE = 107
"""Bytes of a version 1 line (2.1)."""
LONGEST_BLOCK = 4096
"""Bytes after the 16 of a version 2 header: addresses and TLVs. The text allows 65,535; senders stay below 536."""

_NUMBER = rb"(0|[1-9]\d{0,4})"
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b\r\n" % (_NUMBER, _NUMBER))
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_SIZES = {0x11: 4, 0x21: 16}
"""Bytes of an address of TCP over IPv4, and over IPv6 (2.2)."""
_UNSPECIFIED, _UNIX_STREAM = 0x00, 0x31


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of the connection that the proxy took."""

    client: HostPort
    server: HostPort


def missing(header: bytes) -> int:
    """How many more bytes belong to the header for certain; 0 when it is complete. Raises RemoteProtocolError."""
    if not (V2.startswith(header[:12]) or V1.startswith(header[:6])):
        raise RemoteProtocolError("no PROXY header")
    if len(header) < SHORTEST:
        return SHORTEST - len(header)
    return _missing_block(header) if header.startswith(V2) else _missing_line(header)


def _missing_line(header: bytes) -> int:
    if header.endswith(b"\r\n"):
        return 0
    if len(header) >= LONGEST_LINE:
        raise RemoteProtocolError("a PROXY line without an end")
    return 1 if header.endswith(b"\r") or len(header) == LONGEST_LINE - 1 else 2


def _missing_block(header: bytes) -> int:
    if len(header) < 16:
        return 16 - len(header)
    length = int.from_bytes(header[14:16], "big")
    if length > LONGEST_BLOCK:
        raise RemoteProtocolError("a PROXY header that is too long")
    return 16 + length - len(header)


def parse(header: bytes) -> Ends | None:
    """The ends in a complete header. None where the connection's own count: the proxy's health check (LOCAL), or a
    client without an Internet address (UNKNOWN, UNSPEC, a Unix socket). Raises RemoteProtocolError."""
    return _parse_block(header) if header.startswith(V2) else _parse_line(header)


def _parse_line(line: bytes) -> Ends | None:
    if _UNKNOWN.fullmatch(line):
        return None
    match = _LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError("a malformed PROXY line")
    version, client, server, client_port, server_port = match.groups()
    return Ends(_end(version, client, client_port), _end(version, server, server_port))


def _end(version: bytes, address: bytes, port: bytes) -> HostPort:
    try:
        text = address.decode("ascii")
        host = IPv4Address(text) if version == b"4" else IPv6Address(text)
    except ValueError:
        host = None
    if host is None or int(port) > 65535:
        raise RemoteProtocolError("a malformed PROXY line")
    return str(host), int(port)


def _parse_block(header: bytes) -> Ends | None:
    command, family = header[12], header[13]
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise RemoteProtocolError("an unknown PROXY version or command")
    if family in (_UNSPECIFIED, _UNIX_STREAM):
        return None
    size = _SIZES.get(family)
    if size is None:
        raise RemoteProtocolError("a PROXY header for what is no TCP connection")
    block = header[16:]
    if len(block) < 2 * size + 4:
        raise RemoteProtocolError("a PROXY header that is too short for its addresses")
    hosts = block[:size], block[size : 2 * size]
    ports = block[2 * size : 2 * size + 2], block[2 * size + 2 : 2 * size + 4]
    client, server = ((_host(host), int.from_bytes(port, "big")) for host, port in zip(hosts, ports, strict=True))
    return Ends(client, server)  # the TLVs that may follow say nothing that a scope has a place for


def _host(packed: bytes) -> str:
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


async def read_header(connection: socket.socket) -> Ends | None:
    """Read one from a non-blocking socket. Raises RemoteProtocolError, or OSError where the proxy just left."""
    loop = asyncio.get_running_loop()
    header = b""
    while count := missing(header):
        piece = await loop.sock_recv(connection, count)
        if not piece and not header:
            raise ConnectionResetError("left without a word")
        if not piece:
            raise RemoteProtocolError("it ended within its PROXY header")
        header += piece
    return parse(header)


class Proxied:
    """A transport whose two ends are those that the proxy named, and which is otherwise the transport given."""

    def __init__(self, transport: asyncio.Transport, ends: Ends) -> None:
        self._transport = transport
        self._ends = {"peername": ends.client, "sockname": ends.server}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._ends.get(name) or self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        """The transport's own; a method is kept, so that its next call goes straight there."""
        value = getattr(self._transport, name)
        if callable(value):
            setattr(self, name, value)
        return value
