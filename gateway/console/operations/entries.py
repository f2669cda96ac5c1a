"""What the operations on kept messages and outgoing items share: their answers, pages, and bulk changes."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypedDict

from gateway.console.here import Here
from gateway.console.kept import content, pages
from gateway.console.kept.selection import BATCH, Change, Filters, Listing, Selection, Unknown
from gateway.console.kept.selection import pages as all_pages
from gateway.console.operation import NotFound, Unavailable
from gateway.control.server import BadRequest
from gateway.store import Message, OperatorStore, Outgoing, StoreUnavailable
from protocols.lazy_names import imported
from protocols.units import Between


class Entry(TypedDict):
    """A message or an outgoing item, without its content."""

    id: str
    """Its id."""
    type: str
    """The scope type."""
    route: str
    """The label of the route that took the message; empty if that is not known."""
    subject: str
    """The protocol, the sender and the recipient, in a few words."""
    received: float | None
    """When its life began, in seconds since 1970; null if that is not known."""
    size: int
    """Bytes of its content."""
    state: str
    """`waiting`, `running` or `dead`; of outgoing items `waiting`, `resting`, `leaving`, `dead` or `damaged`."""
    attempts: int
    """How many times it was tried."""
    due: float
    """When it is tried next, in seconds since 1970."""
    error: str
    """The last line of its last error; empty if there was none."""
    key: NotRequired[str]
    """Messages of one key are handled one after the other."""
    message: NotRequired[str]
    """The id of the message whose handler sends this item."""
    lane: NotRequired[str]
    """The account by which this item leaves."""
    behind: NotRequired[str]
    """The id of the item after which this one leaves; empty if there is none."""
    recipient: NotRequired[str]
    """To whom this item goes."""


class Page(TypedDict):
    """A page of a list."""

    entries: list[Entry]
    """The ones that match, the oldest first. A page may be short although it is not the last."""
    next: str
    """The place of the next page, for `after`; empty after the last one."""
    total: int | None
    """How many match, if you ask by `count`; at most 100000 are counted."""


class Details(TypedDict):
    """One message or outgoing item."""

    item: Mapping[str, Any]
    """What a list says of it, its whole `error`, and `scope` and `events` without their content and without secrets;
    `damaged` says why they cannot be read."""


class File(TypedDict):
    """One message or outgoing item as a file."""

    name: str
    """A name for the file: `ID.eml` for mail, `ID.json` for the rest."""
    base64: str
    """Its bytes."""


class Progress(TypedDict, total=False):
    """One of these: how many are chosen, how far it is, or that it is done."""

    matching: int
    """So many are chosen."""
    more: bool
    """Beside `matching`: whether more than those match. Call it again for the rest."""
    done: int
    """So many were tried to change."""
    changed: int
    """Beside `done`: so many were changed; others were gone or in another state."""
    finished: bool
    """Beside `done`, in the last answer."""


@dataclass(frozen=True)
class Paging:
    """Which page of a list to return."""

    after: Annotated[str, "The place of the page, which `next` of the page before says."] = ""
    limit: Annotated[int, Between(1, 1000), "How many entries a page has."] = 100
    count: Annotated[bool, "Whether to count all that match, too."] = False


@dataclass(frozen=True)
class Choice:
    """What to change, if not what passes the filters."""

    ids: Annotated[list[str] | None, "Their ids, or beginnings that are unique."] = None
    everything: Annotated[bool, "All of them."] = False
    dry_run: Annotated[bool, "Only count those that are chosen."] = False


@contextmanager
def store_of(here: Here) -> Iterator[OperatorStore]:
    """Give the store. Raises BadRequest if there is none, and for what it raises."""
    if (dispatcher := here.gateway.dispatcher) is None:
        raise BadRequest("this gateway has no store")
    try:
        yield dispatcher.deliveries.store
    except StoreUnavailable as error:
        raise Unavailable(f"the store cannot be used: {error}") from error
    except Unknown as error:
        raise NotFound(str(error)) from error


async def page_of(listings: Sequence[Listing[Any]], filters: Filters, paging: Paging) -> Page:
    try:
        found, following = await pages.page(listings, filters, paging.after, paging.limit)
    except ValueError as error:
        raise BadRequest(f"after: {error}") from error
    total = len((await pages.ids_of(listings, filters))[0]) if paging.count else None
    entries: Any = [content.entry_data(each) for each in found]  # of the form of Entry
    return {"entries": entries, "next": following, "total": total}


async def details(item: Message | Outgoing) -> Details:
    return {"item": await asyncio.to_thread(_described, item)}


def _described(item: Message | Outgoing) -> Mapping[str, Any]:
    found: Mapping[str, Any] = imported("gateway.recording.secrets:Secrets")().left_out(content.details_data(item))
    return found


async def file_of(item: Message | Outgoing) -> File:
    name, data = await asyncio.to_thread(content.file_of, item)
    return {"name": name, "base64": base64.b64encode(data).decode()}


async def files_of(selection: Selection[Any, Any], filters: Filters) -> AsyncGenerator[File, None]:
    """Yield the file of each that matches; not of those that are gone by then."""
    async for each in all_pages(selection.listings, filters):
        for entry in each:
            if (item := await selection.read(entry.id)) is not None:
                yield await file_of(item)


async def change(
    selection: Selection[Any, Any], change: Change, choice: Choice, filters: Filters
) -> AsyncGenerator[Progress, None]:
    """Change those that are chosen. It ends where the client leaves. Raises BadRequest, Unknown."""
    if sum([bool(choice.ids), choice.everything, not filters.are_empty]) != 1:
        raise BadRequest("write ids, or one filter or more, or everything: true")
    if choice.ids:
        chosen, more = await selection.named(choice.ids), False
    else:
        chosen, more = await pages.ids_of(selection.listings, filters)
    yield {"matching": len(chosen), "more": more}
    if choice.dry_run:
        return
    changed = 0
    for begin in range(0, len(chosen), BATCH):
        batch = chosen[begin : begin + BATCH]
        changed += await change(batch)
        yield {"done": begin + len(batch), "changed": changed}
    yield {"done": len(chosen), "changed": changed, "finished": True}
