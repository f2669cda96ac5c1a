"""`gateway send websocket`: a connection, and what comes back."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import responses
from typing import Annotated, Any

import aiohttp
import typer

from gateway.scopes.http.client import Client, url_at
from gateway.scopes.sending import Peer, Sent, ServerOption, dial, find, refused, taken


@dataclass(frozen=True)
class WebSocket:
    """Connects, sends texts, and hears until the gateway has been silent for ``quiet`` seconds."""

    path: str
    texts: Sequence[str] = ()
    quiet: float = 1.0
    server: str | None = None

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        return dial(*find(servers, ("http",), self.server))

    async def send(self, peer: Peer) -> Sent:
        client = Client(peer)
        sent = await self._talked(peer, client)
        return replace(sent, arrives_as={"event": "websocket.connect", "who": client.address})

    async def _talked(self, peer: Peer, client: Client) -> Sent:
        async with client.session() as session:
            try:
                async with session.ws_connect(url_at(peer, self.path)) as socket:
                    for text in self.texts:
                        await socket.send_str(text)
                    return taken("connected", "\n".join([text async for text in self._heard(socket)]))
            except aiohttp.WSServerHandshakeError as error:
                return refused(f"refused: {error.status} {responses.get(error.status, '')}".rstrip())

    async def _heard(self, socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[str]:
        with contextlib.suppress(TimeoutError):
            while True:
                message = await socket.receive(timeout=self.quiet)
                if message.type is aiohttp.WSMsgType.TEXT:
                    yield message.data
                elif message.type is aiohttp.WSMsgType.BINARY:
                    yield repr(message.data)
                else:
                    yield f"(closed: {socket.close_code})"
                    return


def websocket(
    path: Annotated[str, typer.Argument()],
    texts: Annotated[list[str] | None, typer.Argument()] = None,
    quiet: Annotated[float, typer.Option(help="Seconds of silence after which it hangs up.")] = 1.0,
    server: ServerOption = None,
) -> WebSocket:
    """Connect, send texts, and print what comes back.

    Example: gateway send websocket /chat/ '/name Ann' 'hello'
    """
    return WebSocket(path, texts or [], quiet, server)
