"""Operations on the servers."""

from collections.abc import Mapping
from typing import TypedDict

from gateway.console import joined
from gateway.console.here import Here
from gateway.console.operation import operation
from protocols.resources import MailboxFacts
from protocols.server import Server


class ServerState(TypedDict):
    """One server and its state."""

    name: str
    """Its name in the file."""
    protocol: str
    """`http`, `mqtt`, `smtp` and so on."""
    address: str
    """Where it serves, or what it is connected to."""
    state: str
    """`starting`, `ready`, `connecting`, `draining`, `stopped`, or `standby`: it serves in another worker."""
    detail: str
    """A few words, such as `connection refused; next try in 2 s`."""
    required: bool
    """Whether the gateway is ready only if this server is."""
    active: Mapping[str, int]
    """What is in flight, by noun."""
    figures: Mapping[str, float]
    """What it measures, by the names of its metrics without `gateway_`: of a mailbox, when it was checked last."""
    mailboxes: list[MailboxFacts]
    """Each mailbox that it reads, if it is an imap server."""


class ServerList(TypedDict):
    """All servers."""

    servers: list[ServerState]
    """In the order of the file."""


@operation("servers", "GET", "/api/servers", joined=joined.servers)
async def servers(here: Here) -> ServerList:
    """List the servers and their state."""
    return {"servers": states(here)}


def states(here: Here) -> list[ServerState]:
    console = here.gateway.settings.console
    required = console.required if console is not None else ()
    return [_state(server, is_required(server, required)) for server in here.gateway.servers]


def _state(server: Server, required: bool) -> ServerState:
    return {
        "name": server.name,
        "protocol": server.protocol,
        "address": server.address,
        "state": server.status.state,
        "detail": server.status.detail,
        "required": required,
        "active": server.active(),
        "figures": server.figures(),
        "mailboxes": [*server.mailboxes()],
    }


def is_required(server: Server, required: tuple[str, ...]) -> bool:
    """Return whether the gateway is ready only if ``server`` is. One that waits for its upstream counts only if
    ``required`` names it."""
    return server.status.state != "connecting" or server.name in required
