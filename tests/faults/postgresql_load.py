"""Two processes' stores in one PostgreSQL database, under load: what they acknowledged, and what they handled."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from servers.postgresql import PostgreSQL
from waiting import until

from gateway.store import Message, Outgoing, Store, StoreUnavailable, engine_of

T = TypeVar("T")
PUTTERS, BATCH = 12, 8
AGAIN = 0.02
"""Seconds until what was not stored is tried again."""


class Load:
    """Senders repeat a message until it is acknowledged; workers repeat what they could not store."""

    def __init__(self, *stores: Store) -> None:
        self._stores = stores
        self.acknowledged: list[str] = []
        self.handled: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """How often the store was unavailable, by what it said."""
        self._sending, self._working = True, True

    async def send(self, name: str, store: Store) -> None:
        number = 0
        while self._sending:
            number += 1
            id = f"{name}-{number}"
            message = Message(id, "mqtt", "route", f"{name}" if number % 2 else id, store.now(), id.encode() * 20)
            with contextlib.suppress(ValueError):  # it is kept: the commit had succeeded, and its answer was lost
                await self._stored(partial(store.put, message))
            self.acknowledged.append(id)

    async def work(self, store: Store) -> None:
        while self._working:
            taken = await self._stored(lambda: store.take(BATCH, now=store.now()))
            for message in taken:
                assert message.content == message.id.encode() * 20
                self.handled[message.id] += 1
                items = [Outgoing(f"{message.id}-0", message.id, "sms", b"", lane=message.id[0])]
                await self._stored(partial(store.finish, message.id, outgoing=items))
            for item in await self._stored(lambda: store.take_outgoing(BATCH, now=store.now())):
                self.sent[item.id] += 1
                await self._stored(partial(store.finish_outgoing, item.id))
            await asyncio.sleep(0 if taken else AGAIN)

    async def _stored(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except StoreUnavailable as error:
                self.refused[str(error)] += 1
                await asyncio.sleep(AGAIN)

    async def until_there_are(self, number: int) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acknowledged) + number
        await until(lambda: len(self.acknowledged) >= wanted, 60)

    async def finish(self) -> None:
        """Let the senders end, and wait until everything is handled and sent. Nothing may be missing."""
        self._sending = False
        await until(self._is_done, 60)
        self._working = False
        assert not set(self.acknowledged) - self.handled.keys()
        assert not {f"{id}-0" for id in self.acknowledged} - self.sent.keys()

    async def _is_done(self) -> bool:
        try:
            counts = await self._stores[0].counts()
        except StoreUnavailable:
            return False
        return counts.waiting == counts.running == counts.outgoing == 0

    @property
    def repeated(self) -> int:
        """How many were handled more than once."""
        return sum(times > 1 for times in self.handled.values())


@contextlib.asynccontextmanager
async def loaded(url: str) -> AsyncIterator[Load]:
    """Two stores at ``url``, with senders and a worker each."""
    stores = [engine_of(url).store() for _ in range(2)]
    for store in stores:
        await store.open()
    load = Load(*stores)
    try:
        async with asyncio.TaskGroup() as tasks:
            for number, store in enumerate(stores):
                store.listen(lambda: None, lambda: None)
                tasks.create_task(load.work(store))
                for sender in range(PUTTERS):
                    tasks.create_task(load.send(f"s{number}x{sender}", store))
            await load.until_there_are(50)
            yield load
            await load.finish()
    finally:
        for store in stores:
            await store.close()


Fault = Callable[[PostgreSQL, str, float], Awaitable[None]]
"""Does something to a server, and to the sessions of a database, that lasts for some seconds."""


async def restart(server: PostgreSQL, name: str, seconds: float) -> None:
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(seconds)
    server.start()  # in this thread: the server ends with the one that started it


async def crash(server: PostgreSQL, name: str, seconds: float) -> None:
    await asyncio.to_thread(server.crash)
    await asyncio.sleep(seconds)
    server.start()  # in this thread: the server ends with the one that started it


async def pause(server: PostgreSQL, name: str, seconds: float) -> None:
    server.pause()
    try:
        await asyncio.sleep(2 * seconds)
    finally:
        server.resume()


async def terminate(server: PostgreSQL, name: str, seconds: float) -> None:
    for _ in range(5):
        await asyncio.to_thread(server.terminate, name)
        await asyncio.sleep(seconds / 10)


FAULTS: tuple[Fault, ...] = (restart, crash, pause, terminate)
