"""Operations on what handlers send."""

from collections.abc import AsyncGenerator
from typing import Annotated, TypedDict

from gateway.console.here import Here
from gateway.console.kept.selection import Filters, outgoing_items
from gateway.console.operation import operation
from gateway.console.operations.entries import (
    Choice,
    Details,
    File,
    Ids,
    Page,
    Paging,
    Progress,
    change,
    details,
    file_of,
    files_of,
    page_of,
    store_of,
)
from gateway.control.server import BadRequest
from gateway.delivery.service import deliveries


class Rung(TypedDict):
    """The gateway looks."""

    rung: bool
    """True."""


@operation(
    "ring", "POST", "/api/outgoing/ring", audited=False
)  # every process that puts something into the store calls it
async def ring(here: Here) -> Rung:
    """Send and run what another process has put into the store now, and not at the next look."""
    try:
        delivering = here.service(deliveries)
    except LookupError as error:
        raise BadRequest("this gateway has no store") from error
    delivering.notify()
    return {"rung": True}


@operation("outgoing", "GET", "/api/outgoing")
async def outgoing(here: Here, *, filters: Filters, paging: Paging) -> Page:
    """List the items that handlers sent and that have not left, in the order of their ids."""
    with store_of(here) as store:
        return await page_of(outgoing_items(store).listings, filters, paging)


@operation("outgoing_show", "GET", "/api/outgoing/{id}")
async def outgoing_show(here: Here, *, id: Annotated[str, "Its id, or the beginning if that is unique."]) -> Details:
    """Show all of an outgoing item but its content."""
    with store_of(here) as store:
        return await details(await outgoing_items(store).get(id))


@operation("outgoing_file", "GET", "/api/outgoing/{id}/file")
async def outgoing_file(here: Here, *, id: Annotated[str, "Its id, or the beginning if that is unique."]) -> File:
    """Return an outgoing item as a file: the message itself, which may contain secrets."""
    with store_of(here) as store:
        return await file_of(await outgoing_items(store).get(id))


@operation("outgoing_export", "GET", "/api/outgoing/export")
async def outgoing_export(here: Here, *, filters: Filters, ids: Ids = None) -> AsyncGenerator[File, None]:
    """Return each of the outgoing items that match, or that are named, as a file. They may contain secrets."""
    with store_of(here) as store:
        async for file in files_of(outgoing_items(store), filters, ids or ()):
            yield file


@operation("outgoing_retry", "POST", "/api/outgoing/retry", audited=False)  # change() logs how many
async def outgoing_retry(here: Here, *, filters: Filters, choice: Choice) -> AsyncGenerator[Progress, None]:
    """Try outgoing items now. Choose them by id, by filters, or all."""
    with store_of(here) as store:
        chosen = outgoing_items(store)
        async for told in change("outgoing_retry", chosen, chosen.requeue, choice, filters):
            yield told
    here.service(deliveries).outgoing.notify()


@operation("outgoing_drop", "POST", "/api/outgoing/drop", audited=False)  # change() logs how many
async def outgoing_drop(here: Here, *, filters: Filters, choice: Choice) -> AsyncGenerator[Progress, None]:
    """Drop outgoing items for good: they are never sent. Choose them by id, by filters, or all."""
    with store_of(here) as store:
        chosen = outgoing_items(store)
        async for told in change("outgoing_drop", chosen, chosen.forget, choice, filters):
            yield told
