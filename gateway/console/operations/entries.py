"""What the operations on kept messages and outgoing items share: their answers, pages, and bulk changes."""

import base64
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypedDict

from gateway.console.audit import record_change
from gateway.console.here import Here
from gateway.console.kept import content, pages
from gateway.console.kept.pages import Changing, Matching, Named
from gateway.console.kept.selection import Change, Filters, Listing, Selection, Unknown
from gateway.console.kept.selection import pages as all_pages
from gateway.control.server import BadRequest, NotFound, Unavailable
from gateway.own_thread import operator_thread
from gateway.store import Message, OperatorStore, Outgoing, StoreUnavailable
from protocols.lazy_names import imported
from protocols.units import Between

COUNTING = 10_000
"""Entries after which a count says how far it is."""


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
    """The number of those that are chosen, as far as they are counted."""
    more: bool
    """Beside `matching`: whether it still counts."""
    done: int
    """The number of those that it has tried to change, or that were gone by then."""
    changed: int
    """Beside `done`: how many were changed; the others were gone or in another state."""
    finished: bool
    """Beside `done`, in the last answer."""


@dataclass(frozen=True)
class Paging:
    """Which page of a list to return."""

    after: Annotated[str, "The place of the page, which `next` of the page before says."] = ""
    limit: Annotated[int, Between(1, 1000), "How many entries a page has."] = 100
    count: Annotated[bool, "Whether to count all that match, too."] = False


Ids = Annotated[list[str] | None, "Their ids, or beginnings that are unique."]


@dataclass(frozen=True)
class Choice:
    """What to change, if not what passes the filters."""

    ids: Ids = None
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
    total = await pages.count(listings, filters) if paging.count else None
    entries: Any = [content.entry_data(each) for each in found]  # of the form of Entry
    return {"entries": entries, "next": following, "total": total}


async def details(item: Message | Outgoing) -> Details:
    return {"item": await operator_thread.run(_described, item)}


def _described(item: Message | Outgoing) -> Mapping[str, Any]:
    found: Mapping[str, Any] = imported("gateway.recording.secrets:Secrets")().left_out(content.details_data(item))
    return found


async def file_of(item: Message | Outgoing) -> File:
    name, data = await operator_thread.run(content.file_of, item)
    return {"name": name, "base64": base64.b64encode(data).decode()}


async def files_of(
    selection: Selection[Any, Any], filters: Filters, ids: Sequence[str] = ()
) -> AsyncGenerator[File, None]:
    """Yield the file of each of ``ids``, or else of each that matches; not of those that are gone by then. Raises
    Unknown, BadRequest."""
    if ids and not filters.are_empty:
        raise BadRequest("write ids or filters, not both")
    async for each in _ids_of(selection, filters, ids):
        for id_ in each:
            if (item := await selection.read(id_)) is not None:
                yield await file_of(item)


async def _ids_of(
    selection: Selection[Any, Any], filters: Filters, given: Sequence[str]
) -> AsyncGenerator[Sequence[str], None]:
    if given:
        yield await selection.named(given)
        return
    async for each in all_pages(selection.listings, filters):
        yield [entry.id for entry in each]


async def change(
    what: str, selection: Selection[Any, Any], change: Change, choice: Choice, filters: Filters
) -> AsyncGenerator[Progress, None]:
    """Change those that are chosen. It ends where the client leaves. The log has a line: ``what`` is the name of the
    operation. Raises BadRequest, Unknown."""
    if sum([bool(choice.ids), choice.everything, not filters.are_empty]) != 1:
        raise BadRequest("write ids, or one filter or more, or everything: true")
    if choice.dry_run:
        async for told in _counted(await _chosen(selection, choice, filters)):
            yield told
        return
    changing = Changing(change)
    try:
        chosen = await _chosen(selection, choice, filters)
        async for told in _counted(chosen):
            yield told
        async for _ in changing.batches(chosen):
            yield {"done": changing.done, "changed": changing.changed}
    finally:
        record_change(what, changing.changed, _told(choice, filters))
    yield {"done": chosen.count, "changed": changing.changed, "finished": True}


async def _chosen(selection: Selection[Any, Any], choice: Choice, filters: Filters) -> Named | Matching:
    """Raises Unknown."""
    if choice.ids:
        return Named(await selection.still_there(choice.ids), len(set(choice.ids)))
    return Matching(selection.listings, filters)


async def _counted(chosen: Named | Matching) -> AsyncGenerator[Progress, None]:
    told = COUNTING
    async for count in chosen.counting():
        if count >= told:
            yield {"matching": count, "more": True}
            told = count + COUNTING
    yield {"matching": chosen.count, "more": False}


def _told(choice: Choice, filters: Filters) -> Mapping[str, Any]:
    """Return what was chosen, for the log."""
    given = {"ids": choice.ids, "everything": choice.everything, **vars(filters)}
    return {name: value for name, value in given.items() if value}
