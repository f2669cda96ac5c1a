"""The store alone: small messages into it and out of it again, every commit fsynced, from one event loop.

The last line is the rate at which a hundred and more connections can be told "it is stored".
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import uvloop

from gateway.store import Message, Outgoing
from gateway.store.sqlite import SQLiteStore
from gateway.store.writer import BATCH
from protocols.event_id import new_id

PUTTERS = 128
CONTENT = b"x" * 200
HERE = Path("var")
"""On a real disk: /tmp may be memory, where fsync costs nothing."""


def a_message() -> Message:
    event = new_id()
    return Message(event, "mqtt", "mqtt sensors", event, time.time(), CONTENT, subject="mqtt device-1 sensors/1/temp")


async def every(count: int, call: Callable[[], Awaitable[object]]) -> float:
    """Calls a second, ``PUTTERS`` at a time."""
    numbers: Iterator[int] = iter(range(count))

    async def one() -> None:
        for _ in numbers:
            await call()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(PUTTERS)))
    return count / (time.perf_counter() - started)


async def put(store: SQLiteStore, count: int) -> float:
    return await every(count, lambda: store.put(a_message()))


async def through(store: SQLiteStore, count: int) -> float:
    """Put, taken and finished, all at once; the messages of ``put`` are in front."""
    left = count
    started = time.perf_counter()

    async def work() -> None:
        nonlocal left
        while left > 0:
            taken = await store.take(64, now=time.time())
            left -= len(taken)
            await asyncio.gather(*(store.finish(message.id) for message in taken))

    await asyncio.gather(every(count, lambda: store.put(a_message())), work())
    return count / (time.perf_counter() - started)


async def claims(store: SQLiteStore, count: int) -> float:
    async def deliver() -> None:
        event = new_id()
        claim = await store.claim(f"sms:{event}", id=event, now=time.time(), ttl=86400.0)
        reply = Outgoing(f"{claim.id}-0", claim.id, "sms", CONTENT)
        await store.settle(claim, result=b"accepted", outgoing=[reply])

    return await every(count, deliver)


def place() -> tempfile.TemporaryDirectory[str]:
    HERE.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=HERE)


async def measure(count: int) -> None:
    with place() as folder:
        store = SQLiteStore(Path(folder) / "gateway.db")
        await store.open()
        await put(store, count // 10)
        rows = [
            ("claim + settle with one item to send", await claims(store, count // 4)),
            ("put + take + finish", await through(store, count // 2)),
            ("put, one after the other", await alone(store, count // 40)),
            ("put", await put(store, count)),
        ]
        await store.close()
    print(f"store: {len(CONTENT)} bytes each, {PUTTERS} at a time, at most {BATCH} in one fsynced commit")
    for name, rate in rows:
        print(f"{name:<40}{rate:>10,.0f} messages/s")


async def alone(store: SQLiteStore, count: int) -> float:
    """What one sender gets that waits for each: a commit and an fsync a message."""
    started = time.perf_counter()
    for _ in range(count):
        await store.put(a_message())
    return count / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    uvloop.run(measure(40_000 if parser.parse_args().quick else 200_000))


if __name__ == "__main__":
    main()
