"""A process that has the store, takes what there is, claims ``key`` and says so. Then, for each line of its input, it
finishes what it had, and takes again."""

import asyncio
import sys

from gateway.store import engine_of


def say(*words: str) -> None:
    sys.stdout.write(f"{' '.join(words)}\n")
    sys.stdout.flush()


async def main(url: str) -> None:
    store = engine_of(url).store()
    await store.open()
    had = await store.take(9, now=store.now())
    await store.claim("key", id="claimed", now=store.now(), ttl=3600)
    leased = await store.acquire("role")
    lost = asyncio.ensure_future(store.wait_lost())
    say("has", *(message.id for message in had), str(leased))
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "lost":
            await lost
        await store.finish_all([message.id for message in had])
        again = await store.take(9, now=store.now())
        say("took", *(message.id for message in again))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
