"""Operations on messages that the store keeps."""

from typing import Annotated, Any, TypedDict

from gateway.console.here import Here
from gateway.console.kept.history import history_data, history_of
from gateway.console.kept.selection import Filters
from gateway.console.operation import operation
from gateway.console.operations.entries import Entry, Page, Paging, page_of, store_of


class Step(TypedDict):
    """One line of a history."""

    at: float
    """Seconds since 1970."""
    what: str
    """What happened."""


class Story(TypedDict):
    """What happened to a message, and where it is now."""

    id: str
    """Its id."""
    state: str
    """`waiting`, `running`, `dead`, or `absent`: then the last line of its history says why."""
    history: list[Step]
    """What happened, the oldest first."""
    message: Entry | None
    """The message; null if the store no longer has it."""
    outgoing: list[Entry]
    """Items that its handler sent and that have not left."""


@operation("waiting", "GET", "/api/waiting")
async def waiting(here: Here, *, filters: Filters, paging: Paging) -> Page:
    """List the messages that wait for a handler or run in one."""
    with store_of(here) as store:
        return await page_of([store.waiting], filters, paging)


@operation("show", "GET", "/api/messages/{id}")
async def show(here: Here, *, id: Annotated[str, "Its id, or the beginning if that is unique."]) -> Story:
    """Show the history of a message: what happened to it, when, and where it is now."""
    with store_of(here) as store:
        found: Any = history_data(await history_of(store, id))  # a Story
    story: Story = found
    return story
