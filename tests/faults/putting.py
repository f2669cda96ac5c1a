"""Puts as fast as it can and says, on its standard output, what is durable; is killed from outside."""

import asyncio
import sys
import time

from gateway.store import Message
from gateway.store.sqlite import SQLiteStore


async def main(path: str, name: str, putters: int) -> None:
    store = SQLiteStore(path)
    await store.open()
    sys.stdout.write("open\n")
    sys.stdout.flush()
    numbers = iter(range(10**9))

    async def put() -> None:
        for number in numbers:
            event = f"{name}-{number}"
            content = event.encode() * (1 + number % 50)
            await store.put(Message(event, "mqtt", "route", event, time.time(), content))
            sys.stdout.write(f"{event}\n")  # one write, one line: flushed before the next is put
            sys.stdout.flush()

    async def work() -> None:
        while True:
            for message in await store.take(3, now=time.time()):
                if message.attempts == 1:
                    await store.retry(message.id, due=0.0, error="again")

    await asyncio.gather(work(), *(put() for _ in range(putters)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
