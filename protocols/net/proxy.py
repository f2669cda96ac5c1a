"""The PROXY protocol, versions 1 and 2, by which a proxy names its client (haproxy's proxy-protocol.txt).

:func:`missing` and :func:`parse` are pure. The header is read to its last byte and no further, so that TLS, or the
server's own protocol, finds in the socket whatever follows it.
"""

import asyncio
import re
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from protocols.asgi import HostPort
from protocols.errors import RemoteProtocolError
from protocols.net.endpoints import Endpoints

V1 = b"PROXY "
V2 = b"\r\n\r\n\0\r\nQUIT\n"
SHORTEST = len(b"PROXY UNKNOWN\r\n")
LONGEST_LINE = 107
"""Bytes of a version 1 line at most (2.1)."""
LONGEST_BLOCK = 4096
"""Bytes after the first 16 of a version 2 header: addresses and TLVs. The specification allows 65,535; senders stay
below 536."""

_NUMBER = rb"(0|[1-9]\d{0,4})"
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b\r\n" % (_NUMBER, _NUMBER))
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_SIZES = {0x11: 4, 0x21: 16}
"""Bytes of an address of TCP over IPv4, and over IPv6 (2.2)."""
_UNSPECIFIED, _UNIX_STREAM = 0x00, 0x31


def missing(header: bytes) -> int:
    """How many more bytes are certain to belong to the header; 0 when it is complete. Raises RemoteProtocolError."""
    if not (V2.startswith(header[:12]) or V1.startswith(header[:6])):
        raise RemoteProtocolError("it sent no PROXY header")
    if len(header) < SHORTEST:
        return SHORTEST - len(header)
    return _missing_block(header) if header.startswith(V2) else _missing_line(header)


def _missing_line(header: bytes) -> int:
    if header.endswith(b"\r\n"):
        return 0
    if len(header) >= LONGEST_LINE:
        raise RemoteProtocolError("its PROXY line has no end")
    return 1 if header.endswith(b"\r") or len(header) == LONGEST_LINE - 1 else 2


def _missing_block(header: bytes) -> int:
    if len(header) < 16:
        return 16 - len(header)
    length = int.from_bytes(header[14:16], "big")
    if length > LONGEST_BLOCK:
        raise RemoteProtocolError("its PROXY header is too long")
    return 16 + length - len(header)


def parse(header: bytes) -> Endpoints | None:
    """The endpoints named in a complete header. Raises RemoteProtocolError.

    None if those of the connection itself count: for the proxy's health check (LOCAL), and for a client without an
    Internet address (UNKNOWN, UNSPEC, a Unix socket).
    """
    return _parse_block(header) if header.startswith(V2) else _parse_line(header)


def _parse_line(line: bytes) -> Endpoints | None:
    if _UNKNOWN.fullmatch(line):
        return None
    match = _LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError("its PROXY line is malformed")
    version, client, server, client_port, server_port = match.groups()
    return Endpoints(_end(version, client, client_port), _end(version, server, server_port))


def _end(version: bytes, address: bytes, port: bytes) -> HostPort:
    try:
        text = address.decode("ascii")
        host = IPv4Address(text) if version == b"4" else IPv6Address(text)
    except ValueError:
        host = None
    if host is None or int(port) > 65535:
        raise RemoteProtocolError("its PROXY line is malformed")
    return str(host), int(port)


def _parse_block(header: bytes) -> Endpoints | None:
    command, family = header[12], header[13]
    if command == _LOCAL:
        return None
    if command != _PROXY:
        raise RemoteProtocolError("its PROXY header has an unknown version or command")
    if family in (_UNSPECIFIED, _UNIX_STREAM):
        return None
    size = _SIZES.get(family)
    if size is None:
        raise RemoteProtocolError("its PROXY header is not for a TCP connection")
    block = header[16:]
    if len(block) < 2 * size + 4:
        raise RemoteProtocolError("its PROXY header is too short for its addresses")
    hosts = block[:size], block[size : 2 * size]
    ports = block[2 * size : 2 * size + 2], block[2 * size + 2 : 2 * size + 4]
    client, server = ((_host(host), int.from_bytes(port, "big")) for host, port in zip(hosts, ports, strict=True))
    return Endpoints(client, server)  # TLVs may follow; a scope has no place for what they say


def _host(packed: bytes) -> str:
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


async def read_header(connection: socket.socket) -> Endpoints | None:
    """Read a header from a non-blocking socket. Raises RemoteProtocolError, or OSError if the proxy just left."""
    loop = asyncio.get_running_loop()
    header = b""
    while count := missing(header):
        piece = await loop.sock_recv(connection, count)
        if not piece and not header:
            raise ConnectionResetError("the peer left without a word")
        if not piece:
            raise RemoteProtocolError("the connection ended within its PROXY header")
        header += piece
    return parse(header)


class ProxiedTransport:
    """A transport with the endpoints that the proxy named; all else is the given transport's."""

    def __init__(self, transport: asyncio.Transport, endpoints: Endpoints) -> None:
        self._transport = transport
        self._endpoints = {"peername": endpoints.client, "sockname": endpoints.server}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._endpoints.get(name) or self._transport.get_extra_info(name, default)

    def __getattr__(self, name: str) -> Any:
        """Return the transport's attribute; a method is kept here, so that its next call goes straight there."""
        value = getattr(self._transport, name)
        if callable(value):
            setattr(self, name, value)
        return value
