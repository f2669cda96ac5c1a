"""The pages on what the store keeps: messages, dead letters and what handlers send."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from tarfile import BLOCKSIZE, TarInfo

from gateway.console.here import Here
from gateway.console.pages.body import body_of
from gateway.console.pages.listing import Action, Column, Listing
from gateway.console.pages.page import Asked, Content, Download, Page
from gateway.console.table import operations
from gateway.control.server import NotFound

_COLUMNS = (
    Column("Subject", "subject"),
    Column("Type", "type"),
    Column("Route", "route"),
    Column("State", "state"),
    Column("Received", "received", "time"),
    Column("Attempts", "attempts"),
    Column("Size", "size", "size"),
    Column("Error", "error"),
)
_FILTERS = ("text", "type", "route", "recipient", "error", "state", "attempts")

WAITING = Listing(
    "/waiting",
    "Waiting",
    "waiting",
    "id",
    "id",
    _COLUMNS,
    _FILTERS,
    "No message waits. Messages of a route with inbox: true wait here until their handler has run.",
)
DEAD = Listing(
    "/dead",
    "Dead letters",
    "dead",
    "id",
    "ids",
    _COLUMNS,
    _FILTERS,
    "There are no dead letters. A message comes here if its last attempt fails.",
    (
        Action("Retry", "dead_retry", "Retry {} from the first attempt?"),
        Action("Drop", "dead_drop", "Drop {} for good?"),
    ),
    export="/dead/export",
)
OUTGOING = replace(
    DEAD,
    path="/outgoing",
    title="Outgoing",
    operation="outgoing",
    empty="Nothing waits to be sent. What a handler sends is here until it has left.",
    columns=(*_COLUMNS[:4], Column("Due", "due", "time"), Column("Lane", "lane"), *_COLUMNS[5:]),
    actions=(
        Action("Send now", "outgoing_retry", "Try to send {} now?"),
        Action("Drop", "outgoing_drop", "Drop {} for good? Dropped items are never sent."),
    ),
    export="/outgoing/export",
)


async def _one(listing: Listing, here: Here, asked: Asked) -> Content:
    """Raises BadRequest."""
    wanted = operations()[f"{listing.operation}_show"]
    given = asked.arguments(wanted)
    item = (await wanted.answer(here, given))["item"]
    file = await operations()[f"{listing.operation}_file"].answer(here, given)
    shown = body_of(base64.b64decode(file["base64"]))
    return {
        "listing": listing,
        "item": item,
        "body_shown": shown,
        "story": await _story(here, item["id"]),
        "download": file["name"],
    }


async def _message(here: Here, asked: Asked) -> Content:
    wanted = operations()["show"]
    return {"story": await wanted.answer(here, asked.arguments(wanted))}


async def _story(here: Here, id_: str) -> Content | None:
    """The history of a message; None if the store keeps none."""
    try:
        return await operations()["show"].answer(here, {"id": id_})
    except NotFound:
        return None


async def _file(listing: Listing, here: Here, asked: Asked) -> tuple[str, AsyncGenerator[bytes, None]]:
    wanted = operations()[f"{listing.operation}_file"]
    file = await wanted.answer(here, asked.arguments(wanted))

    async def whole() -> AsyncGenerator[bytes, None]:
        yield base64.b64decode(file["base64"])

    return file["name"], whole()


async def _export(listing: Listing, here: Here, asked: Asked) -> tuple[str, AsyncGenerator[bytes, None]]:
    wanted = operations()[f"{listing.operation}_export"]
    asked.has_only(wanted)
    files = wanted.answers(here, asked.arguments(wanted))
    first = await anext(files, None)  # what cannot be exported is said, before there is half a file
    return f"{listing.operation}.tar", _archive(first, files)


async def _archive(first: Content | None, others: AsyncGenerator[Content, None]) -> AsyncGenerator[bytes, None]:
    """Yield the files as a tar archive, one at a time in memory."""
    async with aclosing(others):
        if first is not None:
            yield _member(first)
            async for file in others:
                yield _member(file)
    yield bytes(2 * BLOCKSIZE)


def _member(file: Content) -> bytes:
    data = base64.b64decode(file["base64"])
    head = TarInfo(file["name"])
    head.size = len(data)
    return head.tobuf() + data + bytes(-len(data) % BLOCKSIZE)


def _pages(listing: Listing) -> list[Page]:
    return [
        listing.page(),
        Page(f"{listing.path}/show", listing.title, "message.html", partial(_one, listing), in_menu=False),
    ]


PAGES = [
    WAITING.page(),
    Page("/waiting/show", "Message", "story.html", _message, in_menu=False),
    *_pages(DEAD),
    *_pages(OUTGOING),
]
DOWNLOADS = [
    Download("/dead/export", partial(_export, DEAD)),
    Download("/outgoing/export", partial(_export, OUTGOING)),
    Download("/dead/file", partial(_file, DEAD)),
    Download("/outgoing/file", partial(_file, OUTGOING)),
]
