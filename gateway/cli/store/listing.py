"""Prints a list, as a table or as JSON, page by page."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from gateway.cli.options import SHOWN
from gateway.cli.store import rendering
from gateway.cli.store.session import with_store
from gateway.cli.terminal import print_list, print_text
from gateway.console.kept.content import entry_data
from gateway.console.kept.selection import Filters, Listing, pages
from gateway.store import OperatorStore


def print_entries(
    config: str | None,
    listings: Callable[[OperatorStore], Sequence[Listing[Any]]],
    columns: rendering.Columns,
    noun: str,
    filters: Filters,
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    async def work(store: OperatorStore) -> None:
        found = pages(listings(store), filters)
        if as_json:
            await print_list(_data(found, limit))
            return
        async for line in rendering.table(found, columns, noun, time.time(), limit or SHOWN):
            print_text(line)

    with_store(config, work)


async def _data(found: AsyncIterator[list[Any]], limit: int | None) -> AsyncIterator[dict[str, Any]]:
    left = limit
    async for page in found:
        for entry in page[:left]:
            yield entry_data(entry)
        if left is not None and (left := left - len(page)) <= 0:
            return
