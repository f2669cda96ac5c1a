"""The pages on what servers have: connections, sessions and retained messages."""

from functools import partial

from gateway.console.here import Here
from gateway.console.pages.listing import Action, Column, Listing
from gateway.console.pages.page import Asked, Content, Page
from gateway.console.table import operations
from gateway.control.server import NotFound

_CONTENT = 64 * 1024
"""Bytes of a payload that are shown."""

CLIENTS = Listing(
    "/clients",
    "Clients",
    "clients.list",
    "id",
    "ids",
    (
        Column("Connection", "id"),
        Column("Server", "server"),
        Column("Protocol", "protocol"),
        Column("Client", "client_id"),
        Column("User", "user"),
        Column("Address", "address"),
        Column("Since", "since", "time"),
        Column("Doing", "doing"),
        Column("In", "messages_received"),
        Column("Out", "messages_sent"),
        Column("Queued", "queued"),
        Column("Dropped", "dropped"),
    ),
    ("client_id", "user", "address", "protocol", "server", "topic", "by", "dropped", "queued"),
    "No client is connected. The overview shows at which addresses the servers listen.",
    (Action("Disconnect", "clients.disconnect", "Disconnect {}?"),),
    shown_by="ids",
    per_server=True,
)
SESSIONS = Listing(
    "/sessions",
    "Sessions",
    "sessions.list",
    "client_id",
    "client_ids",
    (
        Column("Client", "client_id"),
        Column("Server", "server"),
        Column("User", "user"),
        Column("Connected", "connected", "yes_no"),
        Column("Expires", "expires", "time"),
        Column("Subscriptions", "subscriptions"),
        Column("Queued", "queued"),
        Column("In flight", "inflight"),
        Column("Dropped", "dropped"),
    ),
    ("client_id", "user", "server", "topic", "connected", "by", "dropped", "queued"),
    "There are no sessions. An MQTT server has one for each of its clients.",
    (Action("Delete", "sessions.delete", "Delete {}? The messages that wait for a client are lost."),),
    shown_by="client_ids",
    per_server=True,
)
RETAINED = Listing(
    "/retained",
    "Retained",
    "retained.list",
    "topic",
    "topics",
    (
        Column("Topic", "topic"),
        Column("Server", "server"),
        Column("Size", "size", "size"),
        Column("QoS", "qos"),
        Column("Published", "retained", "time"),
        Column("Expires", "expires", "time"),
    ),
    ("filter", "server", "by"),
    "There are no retained messages. An MQTT client makes one if it publishes with the retain flag.",
    (Action("Delete", "retained.delete", "Delete {}?"),),
    shown_by="topics",
    per_server=True,
)


async def _found(listing: Listing, here: Here, asked: Asked) -> Content:
    """Raises BadRequest."""
    wanted = operations()[listing.operation.replace(".list", ".show")]
    answer = await wanted.answer(here, {"content": _CONTENT, **asked.arguments(wanted)})
    if not (entries := answer["entries"]):
        raise NotFound("it is not there any more")
    return {"listing": listing, "entries": entries}


PAGES = [
    page
    for listing in (CLIENTS, SESSIONS, RETAINED)
    for page in (
        listing.page(),
        Page(f"{listing.path}/show", listing.title, "resource.html", partial(_found, listing), in_menu=False),
    )
]
