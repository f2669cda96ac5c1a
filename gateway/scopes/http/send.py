"""`gateway send http`: one request."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from gateway.scopes.http.client import Client, answer_to, url_at
from gateway.scopes.sending import Peer, Sent, ServerOption, dial, find


@dataclass(frozen=True)
class HTTP:
    """Makes one request."""

    path: str
    method: str = "GET"
    body: bytes = b""
    server: str | None = None

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        return dial(*find(servers, ("http",), self.server))

    async def send(self, peer: Peer) -> Sent:
        client = Client(peer)
        async with client.session() as session:
            sent = await answer_to(session.request(self.method, url_at(peer, self.path), data=self.body or None))
        return replace(sent, arrives_as={"event": "http.request", "who": client.address, **sent.arrives_as})


def http(
    path: Annotated[str, typer.Argument()],
    body: Annotated[str, typer.Option("--data", "-d")] = "",
    method: Annotated[str, typer.Option("--method", "-X", help="Default: GET, or POST with --data.")] = "",
    server: ServerOption = None,
) -> HTTP:
    """Make an HTTP request.

    Example: gateway send http /longpoll/
    """
    return HTTP(path, method or ("POST" if body else "GET"), body.encode(), server)
