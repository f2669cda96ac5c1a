"""What arrives at several workers, as one stream, over their control sockets."""

import contextlib
from pathlib import Path

import pytest
from told_arrivals import arrival, serving, told_by
from waiting import until

from gateway.console.joined_tail import joined_tail
from gateway.console.table import operations
from gateway.control import place, server
from gateway.control.asking import answers
from gateway.control.recent import Recent
from gateway.control.server import Unavailable


async def test_a_worker_that_has_no_place_for_one_more_stream_is_no_gap_but_an_answer(tmp_path: Path) -> None:
    asked = {"follow": True, "last": 1}
    async with serving(tmp_path / "other", Recent()) as here, contextlib.AsyncExitStack() as stack:
        paths = place.sockets(tmp_path / "other")
        here.tell(arrival(7))
        for _ in range(server.OF_WORKERS):
            stream = answers(paths[0], {"do": "tail", "follow": True}, "worker")
            await stack.enter_async_context(contextlib.aclosing(stream))
            assert await anext(stream) == {"listening": True, "remembers": True}
        tail = operations()["tail"]
        with pytest.raises(Unavailable, match="32 event streams of other workers are open already"):
            await anext(joined_tail(tail.answers(told_by(), asked), asked, lambda: paths))
        await stack.aclose()
        await until(lambda: len(here.audience.listeners) == 1)  # what remembers
        found = joined_tail(tail.answers(told_by(), asked), asked, lambda: paths)
        assert (await anext(found))["arrival"]["id"] == "7"
        assert await anext(found) == {"listening": True, "remembers": True}
        here.tell(arrival(8))
        assert (await anext(found))["arrival"]["id"] == "8"
        await found.aclose()
