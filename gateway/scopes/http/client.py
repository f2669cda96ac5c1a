"""A client of this machine's own http servers."""

from typing import Any

import aiohttp

from gateway.scopes.sending import Peer, Sent
from protocols.units import TCP, Unix


def session(peer: Peer) -> aiohttp.ClientSession:
    if isinstance(peer.endpoint, Unix):
        return aiohttp.ClientSession(connector=aiohttp.UnixConnector(peer.endpoint.path))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=peer.tls or False))


def url_at(peer: Peer, path: str) -> str:
    scheme = "https" if peer.tls else "http"
    place = peer.endpoint if isinstance(peer.endpoint, TCP) else "localhost"
    return f"{scheme}://{place}/{path.lstrip('/')}"


async def answer_to(request: Any) -> Sent:
    async with request as response:
        text = await response.text(errors="replace")
        return Sent(response.status < 400, f"{response.status} {response.reason}", text)
