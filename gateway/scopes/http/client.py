"""A client of this machine's own http servers."""

import socket
from dataclasses import replace
from typing import Any

import aiohttp

from gateway.scopes.sending import Peer, Sent
from protocols.units import TCP, Unix


class Client:
    """Makes sessions, and knows from which address the last of them has connected."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._socket: socket.socket | None = None
        self.address = "unix"
        """As the gateway shows it."""

    def session(self) -> aiohttp.ClientSession:
        peer = self._peer
        if isinstance(peer.endpoint, Unix):
            return aiohttp.ClientSession(connector=aiohttp.UnixConnector(peer.endpoint.path))
        connected = aiohttp.TraceConfig()
        connected.on_connection_create_end.append(self._connected)
        connector = aiohttp.TCPConnector(ssl=peer.tls or False, socket_factory=self._new_socket)
        return aiohttp.ClientSession(connector=connector, trace_configs=[connected])

    def _new_socket(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        self._socket = socket.socket(family, kind, protocol)
        return self._socket

    async def _connected(self, *_: object) -> None:
        if self._socket is not None:
            host, port, *_ = self._socket.getsockname()
            self.address, self._socket = str(TCP(host, port)), None


def url_at(peer: Peer, path: str) -> str:
    scheme = "https" if peer.tls else "http"
    place = peer.endpoint if isinstance(peer.endpoint, TCP) else "localhost"
    return f"{scheme}://{place}/{path.lstrip('/')}"


async def answer_to(request: Any) -> Sent:
    async with request as response:
        text = await response.text(errors="replace")
        sent = Sent(response.status < 400, f"{response.status} {response.reason}", text)
        if response.history:  # redirects, which were followed, have arrived as well
            return replace(sent, arrives_as={"verdict": str(response.status)})
        return sent
