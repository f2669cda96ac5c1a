"""Prints a list, as a table or as JSON, page by page."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

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
    *,
    as_json: bool,
) -> None:
    async def work(store: OperatorStore) -> None:
        found = pages(listings(store), filters)
        if as_json:
            await print_list(_data(found))
            return
        async for line in rendering.table(found, columns, noun, time.time()):
            print_text(line)

    with_store(config, work)


async def _data(found: AsyncIterator[list[Any]]) -> AsyncIterator[dict[str, Any]]:
    async for page in found:
        for entry in page:
            yield entry_data(entry)
