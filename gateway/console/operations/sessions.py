"""Operations on the sessions that MQTT servers keep."""

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
    Removed,
    WithDropped,
    WithQueued,
    WithWill,
)
from gateway.console.resources import Search, details, page, remove, searching
from protocols.resources import Resource
from protocols.server import Server


class Session(TypedDict, total=False):
    """What a server keeps for one client identifier, whether the client is connected or away. What comes after
    `dropped` is in the answer of `sessions.show` only."""

    server: str
    """The name of its server in the file."""
    client_id: str
    """The client identifier."""
    user: str | None
    """The user to whom it belongs."""
    connected: bool
    """Whether its client is connected."""
    expiry: float
    """Seconds that it outlives the connection."""
    expires: float | None
    """When it ends if its client does not come back, in seconds since 1970; null while that is connected."""
    persistent: bool
    """Whether it is in the store, and outlives the process."""
    subscriptions: int
    """The number of its topic filters."""
    queued: int
    """Messages that wait until the client takes more, or is back."""
    queued_bytes: int
    """Their size."""
    inflight: int
    """Messages that were sent to the client and that it has not acknowledged."""
    dropped: int
    """Messages for which there was no room: while the client was away, or because it did not read."""

    inbound: int
    """Messages at QoS 2 from the client whose exchange is not over."""
    retained_to_send: list[str]
    """Topic filters whose retained messages it has not all received yet."""
    will: dict[str, Any] | None
    """Topic, QoS, delay and size of its will; with `content` the payload, too."""
    filters: list[dict[str, Any]]
    """Its subscriptions, with their options."""


class SessionPage(TypedDict):
    """A part of the sessions."""

    entries: list[Session]
    """In the order of their client identifiers, or those first that have the most of `by`."""
    total: int
    """How many fit the filters, on this page or not."""
    next: str | None
    """What to give as `after` for the next page; null if this is the last one."""


class SessionsFound(TypedDict):
    """What was found."""

    entries: list[Session]
    """Empty if there is none."""


class Filters:
    """Parameters that find sessions."""

    server: OfServer = None
    client_id: OfClient = None
    user: OfUser = None
    topic: OfTopic = None
    connected: Annotated[bool | None, "Only those whose client is connected, or is away."] = None
    dropped: WithDropped = False
    queued: WithQueued = False


class Chosen(Filters):
    """Parameters that choose sessions: the filters, and client identifiers."""

    client_ids: Annotated[list[str], "Only the sessions of these client identifiers."] = []


class Named:
    """Parameters that name one session or several."""

    client_ids: Annotated[list[str], "Client identifiers."]
    server: OfServer = None


def sessions(server: Server, wanted: Mapping[str, Any]) -> Iterable[Resource | None]:
    return server.sessions()


@operation("sessions.list", "GET", "/api/sessions", joined=joined.pages("client_id"))
@searching(Filters, sessions)
async def list_sessions(
    here: Here,
    search: Search,
    *,
    by: Annotated[
        Literal["dropped", "queued", "queued_bytes", "inflight", "subscriptions"] | None,
        "Begin with those that have the most of this; else in the order of the client identifiers.",
    ] = None,
    limit: Limit = PAGE,
    after: After = None,
) -> SessionPage:
    """List the sessions of clients, whether they are connected or away."""
    found: SessionPage = await page(search, limit=limit, after=after, by=by)
    return found


@operation("sessions.show", "GET", "/api/sessions/show", joined=joined.entries)
@searching(Named, sessions)
async def show_sessions(here: Here, search: Search, *, content: Content = 0) -> SessionsFound:
    """Tell everything about sessions: subscriptions, what waits, the will."""
    found: SessionsFound = await details(search, content=content)
    return found


@operation(
    "sessions.delete", "POST", "/api/sessions/delete", audited=False, joined=joined.removed
)  # remove() logs how many
@searching(Chosen, sessions)
async def delete_sessions(
    here: Here, search: Search, *, with_will: WithWill = True, dry_run: DryRun = False
) -> Removed:
    """Delete sessions with their subscriptions and all messages that wait for their clients. A client that is connected
    is disconnected. The answer comes once that is durable."""
    return await remove(search, "sessions.delete", with_will=with_will, dry_run=dry_run)
