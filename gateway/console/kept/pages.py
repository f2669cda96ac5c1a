"""Pages of a list, by what an operator looks for, however long the list is."""

from collections.abc import Sequence
from typing import Any

from gateway.console.kept.selection import PAGE, Filters, Listing, pages

SCANNED = 20_000
"""Entries that are looked at for one page: a filter that few match gets short pages."""
COUNTED = 100_000
"""The most that are counted, or changed, at once."""


async def page(listings: Sequence[Listing[Any]], filters: Filters, after: str, limit: int) -> tuple[list[Any], str]:
    """Return at most ``limit`` entries that match, behind the place ``after``, and the place of the next page; that is
    empty after the last one. Raises ValueError for a place that is none."""
    at, last = _place(after, len(listings))
    found: list[Any] = []
    scanned = 0
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
    return found, ""


async def ids_of(listings: Sequence[Listing[Any]], filters: Filters) -> tuple[list[str], bool]:
    """Return the ids of those that match, at most ``COUNTED``, and whether there may be more."""
    found: list[str] = []
    async for each in pages(listings, filters):
        found += [entry.id for entry in each]
        if len(found) > COUNTED:
            return found[:COUNTED], True
    return found, False


def _place(after: str, number: int) -> tuple[int, str]:
    listing, colon, last = after.partition(":")
    if not after:
        return 0, ""
    if not colon or not listing.isdecimal() or int(listing) >= number:
        raise ValueError(f"{after!r} is not the place of a page")
    return int(listing), last
