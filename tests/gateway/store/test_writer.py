"""One call that cannot be done is its caller's alone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.store.sqlite.file.connection import FairConnection
from gateway.store.sqlite.writer import Writer


def fails(database: Any, calls: Sequence[Any]) -> Sequence[Any]:
    return [calls[number + 1] for number in range(len(calls))]


def works(database: Any, calls: Sequence[int]) -> Sequence[int]:
    return calls


async def test_a_mistake_in_an_operation_does_not_end_the_thread(tmp_path: Path) -> None:
    database = FairConnection(tmp_path / "x.db")
    writer = Writer(database, lambda: database)
    async with asyncio.timeout(10):
        calls = [writer.run(works, 1), writer.run(fails, 0), writer.run(works, 2)]
        one, error, two = await asyncio.gather(*calls, return_exceptions=True)
        assert (one, type(error), two) == (1, IndexError, 2)
        with pytest.raises(IndexError):
            await writer.run(fails, 0)
        assert await writer.run(works, 3) == 3
        await writer.close()
