"""What arrives at all workers of a gateway, as one stream."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from gateway.control.asking import Refused, answers
from gateway.control.server import Unavailable
from gateway.succession import Neighbours
from protocols.queue import Queue

LOOK = 1.0
"""Seconds between two looks for workers that have started since."""
PATIENCE = 2.0
"""Seconds for the workers to tell what they remember."""
ROOM = 100
"""Answers of all workers that wait for the client. When there are so many, each worker keeps its own, within bounds."""

Told = Mapping[str, Any]
"""An answer of the operation ``tail``."""
Stream = AsyncGenerator[Told, None]


async def joined_tail(own: Stream, asked: Mapping[str, Any], neighbours: Neighbours) -> Stream:
    """Join the stream of this worker and those of the others, which are ``asked`` for the same. What they remember
    comes first, in the order of its outcomes. Raises what ``own`` raises, and Unavailable if another worker has no
    place for one more stream."""
    tails = _Tails(own, asked, neighbours)
    try:
        for told in await tails.remembered():
            yield told
        while asked.get("follow") and (heard := await tails.more()):
            for told in heard:
                yield told
    finally:
        await tails.close()


class _Tails:
    """The streams of all workers."""

    def __init__(self, own: Stream, asked: Mapping[str, Any], neighbours: Neighbours) -> None:
        self._asked = {"do": "tail", **asked}
        self._neighbours = neighbours
        self._began = time.time_ns() // 1000
        """Numbers of later arrivals are higher."""
        self._queue = Queue[Told](ROOM)
        self._own = _Tail(own, self._queue)
        self._others = {path: _Tail(self._answers(path, self._asked), self._queue) for path in neighbours()}
        self._looking = asyncio.create_task(self._look())

    async def remembered(self) -> list[Told]:
        """Return what all remember, and that they listen from now on."""
        tails = list(self._all())
        waiting = [asyncio.create_task(each.listens.wait()) for each in tails]
        await asyncio.wait(waiting, timeout=PATIENCE)
        for each in waiting:
            each.cancel()
        for tail in tails:
            tail.check()
        told = [each for tail in tails for each in tail.collect()]
        arrivals = sorted((each for each in told if "arrival" in each), key=_outcome)
        if self._asked.get("after") is None:
            arrivals = arrivals[max(0, len(arrivals) - self._asked.get("last", 0)) :]
        listening = {"listening": True, "remembers": any(each.remembers for each in tails)}
        return [*(each for each in told if "arrival" not in each), *arrivals, listening]

    async def more(self) -> list[Told]:
        """Wait for the next answers. There are none once this worker tells no more."""
        return await self._queue.take()

    async def _look(self) -> None:
        """Hear workers that take the places of others."""
        while not self._own.task.done():
            await asyncio.wait([self._own.task], timeout=LOOK)
            there = self._neighbours()
            for path in there:
                if path not in self._others or self._others[path].task.done():
                    last = self._others[path].last if path in self._others else 0
                    missing = {**self._asked, "last": 0, "after": last or self._asked.get("after") or self._began}
                    self._others[path] = _Tail(self._answers(path, missing), self._queue, last=last)
            self._others = {path: tail for path, tail in self._others.items() if path in there or not tail.task.done()}
        self._queue.close()

    @staticmethod
    def _answers(path: Path, asked: Mapping[str, Any]) -> Stream:
        return answers(path, asked, "worker")

    def _all(self) -> Iterator["_Tail"]:
        yield self._own
        yield from self._others.values()

    async def close(self) -> None:
        tasks = [self._looking, *(each.task for each in self._all())]
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Tail:
    """The stream of one worker. What it remembers is collected; what comes then, or is told too late, goes into
    ``queue``."""

    def __init__(self, told: Stream, queue: Queue[Told], *, last: int | None = None) -> None:
        """``last``: the number of the last arrival that was heard of a worker that takes a place; it may be 0."""
        self.last = last or 0
        self.listens = asyncio.Event()
        self.remembers = False
        self._full: Refused | None = None
        """Why the worker has not begun to tell, if it has no place for that."""
        self._remembered: list[Told] = []
        self._queue = queue
        if last is not None:
            self.listens.set()
        self.task = asyncio.create_task(self._read(told))

    async def _read(self, told: Stream) -> None:
        try:
            async with aclosing(told):
                async for each in told:
                    await self._hear(each)
        except Refused as error:
            if error.status == Unavailable.status:
                self._full = error
        except (OSError, ValueError):  # a worker that ends: another one takes its place
            pass
        finally:
            self.listens.set()

    async def _hear(self, told: Told) -> None:
        self.last = told.get("number") or self.last
        if "listening" in told:
            self.remembers = told["remembers"]
            self.listens.set()
        elif self.listens.is_set():
            await self._queue.room()
            self._queue.put(told)
        else:
            self._remembered.append(told)

    def collect(self) -> list[Told]:
        """Return what it remembers, as far as it has told."""
        self.listens.set()
        return self._remembered

    def check(self) -> None:
        """Raises what has ended it."""
        if self._full is not None:
            raise Unavailable(str(self._full))
        if self.task.done():
            self.task.result()


def _outcome(told: Told) -> float:
    """The time when an arrival had its outcome."""
    arrival = told["arrival"]
    outcome: float = arrival["time"] + arrival["seconds"]
    return outcome
