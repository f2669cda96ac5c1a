"""Pages of a list, by what an operator looks for, however long the list is; and changes of all that is found."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from gateway.console.kept.selection import PAGE, Change, Filters, Listing, pages

SCANNED = 20_000
"""Entries that are looked at for one page: a filter that few match gets short pages."""
LOOKED = 3.0
"""Seconds after which a page ends where it is: a store may be slow."""
COUNTED = 100_000
"""The most that a list counts."""
BATCH = 1000
"""Ids of one change, which is one commit: others wait some 10 ms for it."""


async def page(listings: Sequence[Listing[Any]], filters: Filters, after: str, limit: int) -> tuple[list[Any], str]:
    """Return at most ``limit`` entries that match, behind the place ``after``, and the place of the next page; that is
    empty after the last one. Raises ValueError for a place that is none."""
    at, last = _place(after, len(listings))
    found: list[Any] = []
    scanned, ends = 0, time.monotonic() + LOOKED
    while at < len(listings):
        wanted = PAGE if filters.narrow else limit - len(found)
        read = await listings[at](type=filters.type or None, limit=wanted, after=last)
        for entry in read:
            last, scanned = entry.id, scanned + 1
            if filters.match(entry):
                found.append(entry)
            if len(found) == limit or scanned == SCANNED:
                return found, f"{at}:{last}"
        if len(read) < wanted:
            at, last = at + 1, ""
        elif time.monotonic() > ends:
            return found, f"{at}:{last}"
    return found, ""


async def count(listings: Sequence[Listing[Any]], filters: Filters) -> int:
    """Return how many match, at most ``COUNTED``."""
    found = 0
    async for each in pages(listings, filters):
        found += len(each)
        if found >= COUNTED:
            return COUNTED
    return found


class Matching:
    """All that match, however many: counted first, so that those that come later are not among them. There are never
    more than the ids of one page in memory."""

    def __init__(self, listings: Sequence[Listing[Any]], filters: Filters) -> None:
        self._listings = listings
        self._filters = filters
        self._ends = [""] * len(listings)
        """The last id of each listing."""
        self.count = 0

    async def counting(self) -> AsyncIterator[int]:
        """Count them. Yield how many there are so far, after each page."""
        for at, listing in enumerate(self._listings):
            async for each in pages([listing], self._filters):
                self._ends[at] = each[-1].id
                self.count += len(each)
                yield self.count

    async def ids(self) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of those that were counted, page by page."""
        for listing, end in zip(self._listings, self._ends, strict=True):
            async for each in pages([listing], self._filters):
                if found := [entry.id for entry in each if entry.id <= end]:
                    yield found
                if len(found) < len(each):
                    break


class Named:
    """Entries whose ids are known, in the form of :class:`Matching`."""

    def __init__(self, ids: Sequence[str], count: int) -> None:
        """``count``: how many were named; some may be gone."""
        self._ids = ids
        self.count = count

    async def counting(self) -> AsyncIterator[int]:
        yield self.count

    async def ids(self) -> AsyncIterator[Sequence[str]]:
        for begin in range(0, len(self._ids), BATCH):
            yield self._ids[begin : begin + BATCH]


class Changing:
    """A change of all that is chosen, batch by batch. ``done``: so many were tried; ``changed``: so many of them were
    changed, others were gone or in another state."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self.done = 0
        self.changed = 0

    async def batches(self, chosen: Named | Matching) -> AsyncIterator[int]:
        """Do it. Yield the size of each batch that is done. A batch that has begun comes to its end, and is counted,
        although this is cancelled: it is one commit."""
        async for page in chosen.ids():
            for begin in range(0, len(page), BATCH):
                batch = page[begin : begin + BATCH]
                changing = asyncio.ensure_future(self._whole(batch))
                try:
                    await asyncio.shield(changing)
                finally:
                    await asyncio.wait({changing})
                yield len(batch)

    async def _whole(self, batch: Sequence[str]) -> None:
        self.changed += await self._change(batch)
        self.done += len(batch)


def _place(after: str, number: int) -> tuple[int, str]:
    listing, colon, last = after.partition(":")
    if not after:
        return 0, ""
    if not colon or not listing.isdecimal() or int(listing) >= number:
        raise ValueError(f"{after!r} is not the place of a page")
    return int(listing), last
