"""`gateway send syslog`: one message over TCP."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from gateway.scopes.sending import CannotSend, Peer, Sent, ServerOption, dial, find, taken
from protocols.units import TCP


@dataclass(frozen=True)
class Syslog:
    text: str
    app_name: str
    hostname: str
    server: str | None

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        return dial(*find(servers, ("syslog",), self.server))

    async def send(self, peer: Peer) -> Sent:
        if not isinstance(peer.endpoint, TCP):
            raise CannotSend("syslog listens on host:port")
        _, writer = await asyncio.open_connection(peer.endpoint.host, peer.endpoint.port)
        message = f"<14>1 - {self.hostname} {self.app_name} - - - {self.text}".encode()
        writer.write(b"%d %s" % (len(message), message))
        writer.close()
        await writer.wait_closed()
        return taken("sent; syslog has no acknowledgement")


def syslog(
    text: Annotated[str, typer.Argument()],
    app_name: Annotated[str, typer.Option("--app-name", help="The program that writes.")] = "gateway-send",
    hostname: Annotated[str, typer.Option("--hostname", help="The machine that it comes from.")] = "localhost",
    server: ServerOption = None,
) -> Syslog:
    """Send one syslog message.

    Example: gateway send syslog 'disk is full' --app-name backup
    """
    return Syslog(text, app_name, hostname, server)
