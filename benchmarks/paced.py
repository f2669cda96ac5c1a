"""The load client of the latency rows: requests at a steady rate, whatever the server does.

A request is late from the moment when it was due, also if it waits for a free connection: a client that sends the next
request when it has the last answer would not see how long a server stands still. ``python -m benchmarks.paced PORT 64
10000 3`` prints the 99th percentile in microseconds: 64 connections, 10,000 requests a second, 3 seconds.
"""

import asyncio
import contextlib
import sys
from collections import deque
from time import perf_counter
from typing import cast

import uvloop

from benchmarks.windowed import HELLO

TICK = 0.001
"""Seconds between two looks at the clock: so many requests are sent together."""
MOST = 2_000_000
"""Requests of a run."""


class Paced(asyncio.Protocol):
    """One connection, which has one request on its way at a time."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, due: float) -> None:
        self.due = due
        self.transport.write(HELLO)

    def data_received(self, data: bytes) -> None:
        """Note the answer. Those of the row are short, and come in one piece."""
        if data.endswith(b"Hello, world!"):
            self.load.answered(self)


class Load:
    """What is due, what is free, and how late the answers were."""

    def __init__(self) -> None:
        self.free: deque[Paced] = deque()
        self.waiting: deque[float] = deque()
        self.late: list[float] = []

    def answered(self, connection: Paced) -> None:
        self.late.append(perf_counter() - connection.due)
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.free.append(connection)

    async def all_answered(self, wanted: int) -> None:
        while len(self.late) < wanted:  # noqa: ASYNC110 -- a look is cheaper than an event for each answer
            await asyncio.sleep(TICK)

    def request(self, due: float) -> None:
        if self.free:
            self.free.popleft().send(due)
        else:
            self.waiting.append(due)


async def run(port: int, connections: int, rate: float, seconds: float) -> float:
    """Return the 99th percentile of how late the answers are, in microseconds."""
    load, loop = Load(), asyncio.get_running_loop()
    for _ in range(connections):
        _, made = await loop.create_connection(lambda: Paced(load), "127.0.0.1", port)
        load.free.append(made)
    began, sent, wanted = perf_counter(), 0, min(int(rate * seconds), MOST)
    while sent < wanted:
        while sent < wanted and (due := began + sent / rate) <= perf_counter():
            load.request(due)
            sent += 1
        await asyncio.sleep(TICK)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(load.all_answered(wanted), 10)
    assert len(load.late) == wanted, f"{wanted - len(load.late)} of {wanted} requests have no answer"
    return sorted(load.late)[int(wanted * 0.99)] * 1_000_000


if __name__ == "__main__":
    print(uvloop.run(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))))
