"""A process that has the store and puts, takes and finishes as fast as it can. In the end it prints when each
was done, by the machine's monotonic clock."""

import asyncio
import itertools
import sys
import time

from gateway.store import Message, Store, engine_of

AT_ONCE = 16


async def work(store: Store, name: str, done: list[float]) -> None:
    for number in itertools.count():
        event = f"{name}-{number}"
        await store.put(Message(event, "mqtt", "r", event, 1.0, b"x" * 200))
        for message in await store.take(1, now=store.now()):
            await store.finish(message.id)
        done.append(time.monotonic())


async def main(url: str, name: str, seconds: float) -> None:
    store = engine_of(url).store()
    await store.open()
    sys.stdout.write("open\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    done: list[float] = []
    working = [asyncio.ensure_future(work(store, f"{name}{each}", done)) for each in range(AT_ONCE)]
    await asyncio.wait(working, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for each in working:
        each.cancel()
    failed = [each for each in await asyncio.gather(*working, return_exceptions=True) if isinstance(each, Exception)]
    assert not failed, failed
    sys.stdout.write(" ".join(map(str, done)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
