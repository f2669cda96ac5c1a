"""Operations on dead letters."""

from collections.abc import AsyncGenerator
from typing import Annotated

from gateway.console.here import Here
from gateway.console.kept.selection import Filters, dead_letters
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
from gateway.delivery.service import deliveries


@operation("dead", "GET", "/api/dead")
async def dead(here: Here, *, filters: Filters, paging: Paging) -> Page:
    """List the dead letters: messages whose last attempt failed, then outgoing items that will not leave."""
    with store_of(here) as store:
        return await page_of(dead_letters(store).listings, filters, paging)


@operation("dead_show", "GET", "/api/dead/{id}")
async def dead_show(here: Here, *, id: Annotated[str, "Its id, or the beginning if that is unique."]) -> Details:
    """Show all of a dead letter but its content."""
    with store_of(here) as store:
        return await details(await dead_letters(store).get(id))


@operation("dead_file", "GET", "/api/dead/{id}/file")
async def dead_file(here: Here, *, id: Annotated[str, "Its id, or the beginning if that is unique."]) -> File:
    """Return a dead letter as a file: the message itself, which may contain secrets."""
    with store_of(here) as store:
        return await file_of(await dead_letters(store).get(id))


@operation("dead_export", "GET", "/api/dead/export")
async def dead_export(here: Here, *, filters: Filters, ids: Ids = None) -> AsyncGenerator[File, None]:
    """Return each of the dead letters that match, or that are named, as a file. They may contain secrets."""
    with store_of(here) as store:
        async for file in files_of(dead_letters(store), filters, ids or ()):
            yield file


@operation("dead_retry", "POST", "/api/dead/retry", audited=False)  # change() logs how many
async def dead_retry(here: Here, *, filters: Filters, choice: Choice) -> AsyncGenerator[Progress, None]:
    """Let dead letters wait again, with all their attempts. Choose them by id, by filters, or all."""
    with store_of(here) as store:
        chosen = dead_letters(store)
        async for told in change("dead_retry", chosen, chosen.requeue, choice, filters):
            yield told
    here.service(deliveries).outgoing.notify()


@operation("dead_drop", "POST", "/api/dead/drop", audited=False)  # change() logs how many
async def dead_drop(here: Here, *, filters: Filters, choice: Choice) -> AsyncGenerator[Progress, None]:
    """Drop dead letters for good. Choose them by id, by filters, or all."""
    with store_of(here) as store:
        chosen = dead_letters(store)
        async for told in change("dead_drop", chosen, chosen.forget, choice, filters):
            yield told
