"""Operations on the peers that are connected, whatever their protocol."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypedDict

from gateway.console import joined
from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.console.resource_parameters import (
    PAGE,
    After,
    Content,
    DryRun,
    Limit,
    OfClient,
    OfServer,
    OfTopic,
    OfUser,
    Rate,
    Removed,
    WithDropped,
    WithQueued,
    WithWill,
)
from gateway.console.resources import Search, details, page, remove, searching
from protocols.resources import Resource
from protocols.server import Server


class Client(TypedDict, total=False):
    """One open connection. Other protocols than MQTT lack most of what comes after `doing`: a WebSocket counts messages
    and bytes, an HTTP connection bytes. What comes after `last_packet` is in the answer of `clients.show` only."""

    server: str
    """The name of its server in the file."""
    id: str
    """The id of this connection. Another connection of the same client has another one."""
    protocol: str
    """What it speaks now: `http`, `websocket`, `mqtt`, `smtp` or `lmtp`."""
    address: str
    """The address of the peer, or `unix`."""
    port: int | None
    """Its port; null for a Unix socket."""
    since: float
    """When it began, in seconds since 1970."""
    user: str | None
    """The user who has logged in."""
    client_id: str | None
    """The client identifier; of a mail server, the name that it gave in HELO."""
    doing: str
    """What it does, such as `GET /orders/`, `connected`, `does not read`."""
    subscriptions: int
    """The number of its topic filters."""
    queued: int
    """Messages that wait until it takes more."""
    queued_bytes: int
    """Their size."""
    inflight: int
    """Messages that were sent to it and that it has not acknowledged."""
    messages_received: int
    """Messages that came from it on this connection."""
    messages_sent: int
    """Messages that were sent to it on this connection."""
    bytes_received: int
    """Bytes that came from it on this connection; of MQTT, since CONNECT."""
    bytes_sent: int
    """Bytes that were sent to it on this connection."""
    dropped: int
    """Messages at QoS 0 that were dropped because it did not read."""
    last_packet: float
    """When its last packet came, in seconds since 1970."""

    tls: bool
    """Whether it is encrypted."""
    version: str
    """The version of MQTT."""
    transport: str
    """`tcp` or `websocket`."""
    keepalive: float
    """Seconds; 0 for none."""
    clean_start: bool
    """Whether it asked for a new session."""
    session_present: bool
    """Whether it found its session."""
    expiry: float
    """Seconds that its session outlives the connection."""
    inbound: int
    """Messages at QoS 2 from it whose exchange is not over."""
    retained_to_send: list[str]
    """Topic filters whose retained messages it has not all received yet."""
    will: dict[str, Any] | None
    """Topic, QoS, delay and size of its will; with `content` the payload, too."""
    filters: list[dict[str, Any]]
    """Its subscriptions, with their options."""


class ClientPage(TypedDict):
    """A part of the connections."""

    entries: list[Client]
    """The oldest first, or those first that have the most of `by`."""
    total: int
    """How many fit the filters, on this page or not."""
    next: str | None
    """What to give as `after` for the next page; null if this is the last one."""


class ClientsFound(TypedDict):
    """What was found."""

    entries: list[Client]
    """Empty if there is none."""


Ids = Annotated[list[str], "Only the connections with these ids or client identifiers."]
By = Literal["dropped", "queued", "inflight", "messages_received", "messages_sent", "bytes_received", "bytes_sent"]


class Filters:
    """Parameters that find connections."""

    server: OfServer = None
    protocol: Annotated[str | None, "Only those that speak this protocol."] = None
    client_id: OfClient = None
    user: OfUser = None
    address: Annotated[str | None, "Only this address or network, or `unix`."] = None
    topic: OfTopic = None
    dropped: WithDropped = False
    queued: WithQueued = False


class Chosen(Filters):
    """Parameters that choose connections: the filters, and ids."""

    ids: Ids = []


class Named:
    """Parameters that name one connection or several."""

    ids: Annotated[list[str], "Ids of connections, or client identifiers."]
    server: OfServer = None


def clients(server: Server, wanted: Mapping[str, Any]) -> Iterable[Resource | None]:
    return server.clients()


@operation("clients.list", "GET", "/api/clients", joined=joined.pages("since"))
@searching(Filters, clients)
async def list_clients(
    here: Here,
    search: Search,
    *,
    by: Annotated[By | None, "Begin with those that have the most of this; else with the oldest."] = None,
    limit: Limit = PAGE,
    after: After = None,
) -> ClientPage:
    """List the connections that are open, of all protocols."""
    found: ClientPage = await page(search, limit=limit, after=after, by=by)
    return found


@operation("clients.show", "GET", "/api/clients/show", joined=joined.entries)
@searching(Named, clients)
async def show_clients(here: Here, search: Search, *, content: Content = 0) -> ClientsFound:
    """Tell everything about connections: subscriptions, queues, counters, the will."""
    found: ClientsFound = await details(search, content=content)
    return found


@operation(
    "clients.disconnect", "POST", "/api/clients/disconnect", audited=False, joined=joined.removed
)  # remove() logs how many
@searching(Chosen, clients)
async def disconnect_clients(
    here: Here, search: Search, *, with_will: WithWill = True, rate: Rate = 0, dry_run: DryRun = False
) -> Removed:
    """End connections. Each peer gets the code of its protocol: MQTT 5 0x98, a WebSocket 1008, a mail server 421.
    Sessions stay, and the client may come back at once."""
    return await remove(search, "clients.disconnect", with_will=with_will, rate=rate, dry_run=dry_run)
