"""Operations on the retained messages of MQTT servers."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypedDict

from gateway.console import joined
from gateway.console.here import Here
from gateway.console.operation import operation
from gateway.console.resource_parameters import PAGE, After, Content, DryRun, Limit, OfServer, Removed
from gateway.console.resources import Search, details, page, remove, searching
from protocols.resources import Resource
from protocols.server import Server


class Retained(TypedDict, total=False):
    """A retained message. Only the answer of `retained.show` has its properties and its payload."""

    server: str
    """The name of its server in the file."""
    topic: str
    """Its topic."""
    size: int
    """Bytes of its payload."""
    qos: int
    """The QoS with which it was published."""
    retained: float | None
    """When it was published, in seconds since 1970; null if an older version has kept it."""
    expires: float | None
    """When it expires, in seconds since 1970; null for never."""

    properties: list[str]
    """The names of its properties."""
    payload: dict[str, Any]
    """The beginning of its payload: `text` if that is UTF-8, else `hex`; and `whole`, whether that is all."""


class RetainedPage(TypedDict):
    """A part of the retained messages."""

    entries: list[Retained]
    """In the order of their topics, or the largest first."""
    total: int
    """How many fit the filter, on this page or not."""
    next: str | None
    """What to give as `after` for the next page; null if this is the last one."""


class RetainedFound(TypedDict):
    """What was found."""

    entries: list[Retained]
    """Empty if there is none."""


class Filters:
    """Parameters that find retained messages."""

    filter: Annotated[str, "A topic filter, such as `sensors/#`."] = "#"
    server: OfServer = None


class Chosen:
    """Which retained messages are deleted."""

    topics: Annotated[list[str], "Only the messages of these topics."] = []
    filter: Annotated[str | None, "Only those whose topics this filter matches."] = None
    server: OfServer = None


class Named:
    """Parameters that name one message or several."""

    topics: Annotated[list[str], "Topics."]
    server: OfServer = None


def retained(server: Server, wanted: Mapping[str, Any]) -> Iterator[Resource | None]:
    """Find them by their topics, or by a filter. Raises ValueError."""
    for each in wanted.get("topics") or [wanted.get("filter", "#")]:
        yield from server.retained(each)


@operation("retained.list", "GET", "/api/retained", joined=joined.pages("topic"))
@searching(Filters, retained)
async def list_retained(
    here: Here,
    search: Search,
    *,
    by: Annotated[Literal["size"] | None, "Begin with the largest; else in the order of the topics."] = None,
    limit: Limit = PAGE,
    after: After = None,
) -> RetainedPage:
    """List the retained messages whose topics a filter matches, without their content."""
    found: RetainedPage = await page(search, limit=limit, after=after, by=by)
    return found


@operation("retained.show", "GET", "/api/retained/show", joined=joined.entries)
@searching(Named, retained)
async def show_retained(here: Here, search: Search, *, content: Content = 1024) -> RetainedFound:
    """Tell everything about the retained messages of topics, with the beginning of their payload."""
    found: RetainedFound = await details(search, content=content)
    return found


@operation(
    "retained.delete", "POST", "/api/retained/delete", audited=False, joined=joined.removed
)  # remove() logs how many
@searching(Chosen, retained)
async def delete_retained(here: Here, search: Search, *, dry_run: DryRun = False) -> Removed:
    """Delete retained messages. Subscribers get no message about it. The answer comes once that is durable."""
    return await remove(search, "retained.delete", dry_run=dry_run)
