"""The store in a PostgreSQL database, beside Procrastinate and PgQueuer: what each acknowledges is on disk.

One server, with synchronous_commit and fsync on. Each message is acknowledged by itself when it is stored, and again
when it has run, whatever shares a commit.

* "put singly": one caller that waits for each. "many at a time": 128 callers of ours; 16 of the peers, which have a
  connection for each.
* "run": what waits is run by a handler that does nothing, each message done on disk before it counts. A worker takes
  while the last are being finished.
* "put to handler": messages arrive at a rate, and it counts how long each takes until its handler begins.
* "behind": the same while a hundred thousand wait behind one another on ten keys.

``--backlog 1000000`` measures only what each call takes while so many messages wait.
"""

import argparse
import asyncio
import contextlib
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles

import uvloop

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from servers.postgresql import PostgreSQL, database, postgresql

from gateway.store import Message, Store, engine_of
from gateway.store.states import DEAD
from protocols.event_id import new_id
from protocols.queue import Queue
from protocols.wakeup import Wakeup

CONTENT = b"x" * 300
AT_A_TIME = 128
ROOM = 256
"""Messages that run at once, as in the gateway."""
TAKE = 100
"""Messages that one take brings where what waits is run, as many as PgQueuer's. The next comes while they are being
finished."""
RATES = (1_000, 5_000, 10_000)
"""Messages a second."""
BEHIND = 100_000
PORTION = 1_000
"""Messages in one put that fills the store."""
MOST_WAITING = 2_000_000
"""They take about 1 KB each on the disk."""


def a_message(key: str = "") -> Message:
    event = new_id()
    return Message(event, "mqtt", "mqtt sensors", key or event, time.time(), CONTENT, subject="mqtt device-1 sensors/1")


@dataclass(frozen=True)
class Figure:
    rate: float
    """A second."""
    cpu: float
    """Microseconds that client and server worked for each: the rate depends on what else the machine does."""


class Measured:
    """Measures what is done ``count`` times between ``with`` and its end."""

    def __init__(self, server: PostgreSQL, count: int) -> None:
        self._server, self._count = server, count

    def __enter__(self) -> "Measured":
        self._began, self._worked = time.perf_counter(), time.process_time() + worked(self._server)
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._began
        cpu = time.process_time() + worked(self._server) - self._worked
        self.figure = Figure(self._count / seconds, 1e6 * cpu / self._count)


def worked(server: PostgreSQL) -> float:
    """CPU seconds of the server's processes, also of those that have ended."""
    seconds = 0.0
    for number, pid in enumerate(server.processes()):
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
            seconds += sum(map(int, fields if number == 0 else fields[:2])) / os.sysconf("SC_CLK_TCK")
    return seconds


async def calls(server: PostgreSQL, count: int, at_a_time: int, call: Callable[[], Awaitable[object]]) -> Figure:
    with Measured(server, count) as measured:
        await every(count, at_a_time, call)
    return measured.figure


async def every(count: int, at_a_time: int, call: Callable[[], Awaitable[object]]) -> None:
    numbers: Iterator[int] = iter(range(count))

    async def one() -> None:
        for _ in numbers:
            await call()

    await asyncio.gather(*(one() for _ in range(at_a_time)))


@dataclass
class Worker:
    """Runs messages as the gateway's worker does: begun with the put where there is room, taken otherwise."""

    store: Store
    most: int
    """What one take brings, at most."""
    ran: int = 0
    """Of those that were put here."""
    ended: int = 0
    """Of all."""
    begun: int = 0
    """With their put: none is while an older one is due."""
    running: int = 0
    has_left_some: bool = False
    delays: list[float] = field(default_factory=list)
    arrived: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._done: Queue[tuple[str, bool]] = Queue(100_000)
        self._look = asyncio.Event()
        self._more = Wakeup()

    async def put(self) -> None:
        message = a_message()
        self.arrived[message.id] = time.perf_counter()
        begin = int(self.running < ROOM and not self.has_left_some)
        self.running += begin
        begun = await self.store.put_all([message], begin=begin, now=self.store.now())
        self.running -= begin - len(begun)
        self.begun += len(begun)
        self._begin(begun)
        if not begun:
            self.has_left_some = True
            self._look.set()

    def _begin(self, messages: Sequence[Message]) -> None:
        now = time.perf_counter()
        for message in messages:
            if (arrived := self.arrived.pop(message.id, None)) is not None:
                self.delays.append(now - arrived)
            self._done.put((message.id, arrived is not None))

    async def finish(self) -> None:
        while done := await self._done.take():
            await self.store.finish_all([id_ for id_, _ in done])
            self.ran += sum(arrived for _, arrived in done)
            self.ended += len(done)
            self.running -= len(done)
            self._more.wake()

    async def has_run(self, count: int) -> None:
        while self.ran < count:
            await self._more.wait()

    async def run(self, count: int) -> None:
        """Run ``count`` that wait."""
        self._look.set()
        while self.ended < count:
            await self._more.wait()

    async def take(self) -> None:
        while True:
            await self._look.wait()
            if self.running >= ROOM:
                await self._more.wait()
            room = min(ROOM - self.running, self.most)
            taken = await self.store.take(room, now=self.store.now()) if room > 0 else []
            self.running += len(taken)
            self._begin(taken)
            self.has_left_some = room <= 0 or len(taken) == room
            if not self.has_left_some:
                self._look.clear()
            await asyncio.sleep(0 if taken else 0.002)


@contextlib.asynccontextmanager
async def working(store: Store, take: int = ROOM) -> AsyncIterator[Worker]:
    worker = Worker(store, take)
    tasks = [asyncio.ensure_future(each) for each in (worker.finish(), worker.take())]
    yield worker
    for task in tasks:
        task.cancel()


async def at_rate(store: Store, rate: int, seconds: float) -> tuple[float, list[float], float]:
    """Messages arrive at ``rate``, each put by itself: how many a second were run, how long each took, and the part of
    them that was begun with its put."""
    async with working(store) as worker:
        puts: set[asyncio.Task[None]] = set()
        began = time.perf_counter()
        sent, count = 0, int(rate * seconds)
        while sent < count:
            due = min(count, int((time.perf_counter() - began) * rate))
            for _ in range(sent, due):
                puts.add(task := asyncio.ensure_future(worker.put()))
                task.add_done_callback(puts.discard)
            sent = due
            await asyncio.sleep(0.001)
        await worker.has_run(count)
        return count / (time.perf_counter() - began), worker.delays, worker.begun / count


async def run_all(store: Store, count: int) -> None:
    """Take, run and finish all ``count`` that there are."""
    async with working(store, TAKE) as worker:
        await worker.run(count)


async def ours(server: PostgreSQL, count: int) -> dict[str, Figure]:
    with database(server) as place:
        store = engine_of(place.url).store()
        await store.open()
        figures = {"put singly": await calls(server, count // 10, 1, lambda: store.put(a_message()))}
        figures["put, many at a time"] = await calls(server, count, AT_A_TIME, lambda: store.put(a_message()))
        every = count + count // 10
        figures["run"] = await ended(server, every, run_all(store, every))
        await store.close()
    return figures


async def procrastinate(server: PostgreSQL, count: int) -> dict[str, Figure]:
    """Jobs are removed when they are done, as ours are; one worker with 30 at once."""
    from procrastinate import App, PsycopgConnector

    with database(server) as place:
        app = App(connector=PsycopgConnector(conninfo=place.url, max_size=32))

        @app.task(name="nothing")
        async def nothing(content: str) -> None:
            pass

        async def defer() -> None:
            await nothing.defer_async(content=CONTENT.decode())

        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            figures = {"put singly": await calls(server, count // 10, 1, defer)}
            figures["put, many at a time"] = await calls(server, count, 16, defer)
            figures["run"] = await ended(
                server, count + count // 10, app.run_worker_async(concurrency=30, wait=False, delete_jobs="always")
            )
        return figures


async def pgqueuer(server: PostgreSQL, count: int) -> dict[str, Figure]:
    """One worker that takes a hundred. It keeps in memory which have run, and stores that in batches: they run again if
    it dies, which is not what the others promise."""
    import asyncpg
    from pgqueuer import AsyncpgPoolDriver, PgQueuer
    from pgqueuer.types import QueueExecutionMode

    with database(server) as place:
        pool = await asyncpg.create_pool(place.url, min_size=16, max_size=16)
        queuer = PgQueuer(AsyncpgPoolDriver(pool))
        await queuer.qm.queries.install()

        @queuer.entrypoint("nothing")
        async def nothing(job: object) -> None:
            pass

        async def enqueue() -> None:
            await queuer.qm.queries.enqueue("nothing", CONTENT)

        figures = {"put singly": await calls(server, count // 10, 1, enqueue)}
        figures["put, many at a time"] = await calls(server, count, 16, enqueue)
        run = queuer.qm.run(batch_size=100, mode=QueueExecutionMode.drain)
        figures["run"] = await ended(server, count + count // 10, run)
        await pool.close()
        return figures


async def ended(server: PostgreSQL, count: int, run: Awaitable[object]) -> Figure:
    with Measured(server, count) as measured:
        await run
    return measured.figure


async def delays(server: PostgreSQL, seconds: float) -> None:
    with database(server) as place:
        store = engine_of(place.url).store()
        await store.open()
        for behind in (0, BEHIND):
            for start in range(0, behind, 1000):
                await store.put_all([a_message(f"key {number % 10}") for number in range(start, start + 1000)])
            for rate in RATES:
                got, each, begun = await at_rate(store, rate, seconds)
                cuts = quantiles(each, n=100)
                p50, p99, most = cuts[49] * 1000, cuts[98] * 1000, max(each) * 1000
                name = f"put to handler, {rate:,}/s{f', {behind:,} behind' * bool(behind)}"
                print(
                    f"{name:<48}{got:>9,.0f}/s  p50 {p50:6.1f}  p99 {p99:6.1f}  max {most:6.1f} ms, "
                    f"{begun:.0%} begun with the put",
                    flush=True,
                )
        await store.close()


async def backlog(server: PostgreSQL, waiting: int) -> None:
    """What each call takes while there are ``waiting`` messages, half of them without an order and half behind ten
    keys, a tenth as many dead letters, and as many that are due tomorrow."""
    with database(server) as place:
        store = engine_of(place.url).store()
        await store.open()
        await fill(store, waiting)
        with place.connect() as session:
            session.execute(f"UPDATE gateway_messages SET state = {DEAD} WHERE route = 'dead'")
            session.execute("VACUUM ANALYZE gateway_messages")
        for name, (times, call) in backlog_calls(store).items():
            took = [await seconds_of(call) for _ in range(times)]
            p50, most = median(took) * 1000, max(took) * 1000
            print(f"{waiting:,} waiting: {name:<34}p50 {p50:8.1f}  max {most:8.1f} ms", flush=True)
        await store.close()


async def fill(store: Store, waiting: int) -> None:
    tomorrow = store.now() + 86_400
    kinds = (a_message, lambda: a_message(f"key {random.randrange(10)}"))
    for number in range(0, waiting, PORTION):
        await store.put_all([kinds[each % 2]() for each in range(PORTION)])
        if number % (10 * PORTION) == 0:
            await store.put_all([replace(a_message(), route="dead") for _ in range(PORTION)])
            await store.put_all([replace(a_message(), due=tomorrow) for _ in range(PORTION)])


def backlog_calls(store: Store) -> dict[str, tuple[int, Callable[[], Awaitable[object]]]]:
    """By the name of a call: how often it is made, and the call."""

    async def run() -> None:
        taken = await store.take(TAKE, now=store.now())
        assert len(taken) == TAKE
        await store.finish_all([message.id for message in taken])

    return {
        "put": (200, lambda: store.put(a_message())),
        "put of a key": (200, lambda: store.put(a_message("key 1"))),
        f"take and finish {TAKE}": (50, run),
        "a page of what waits": (20, lambda: store.waiting(limit=50)),
        "a page of dead letters": (20, lambda: store.dead(limit=50)),
        "counts": (5, store.counts),
        "holdings, for metrics": (1, store.holdings),
    }


async def seconds_of(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


def show(what: str, figures: dict[str, list[Figure]]) -> None:
    rates = {name: median(each.rate for each in found) for name, found in figures.items()}
    for name, found in figures.items():
        cpu = median(each.cpu for each in found)
        ratio = rates["ours"] / rates[name]
        print(f"{what:<22}{name:<34}{rates[name]:>9,.0f}/s {ratio:6.1f} {cpu:>9,.0f} us of CPU each", flush=True)


RIVALS = {
    "ours": (ours, 1.0),
    "Procrastinate": (procrastinate, 0.1),
    "PgQueuer (completions in memory)": (pgqueuer, 0.5),
}
"""By the name of a queue: what measures it, and its share of the messages. Each takes some seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--backlog", type=int, metavar="MESSAGES", help="only: each call while so many wait")
    arguments = parser.parse_args()
    quick = arguments.quick
    found: dict[str, list[dict[str, Figure]]] = {name: [] for name in RIVALS}
    with postgresql(shared_buffers="256MB", max_wal_size="2GB") as server:
        if arguments.backlog:
            uvloop.run(backlog(server, min(arguments.backlog, MOST_WAITING)))
            return
        for _ in range(1 if quick else 3):  # by turns: the disk and the other programs are not the same for long
            for name, (measure, part) in RIVALS.items():
                found[name].append(uvloop.run(measure(server, int((10_000 if quick else 50_000) * part))))
        for what in found["ours"][0]:
            show(what, {name: [each[what] for each in figures] for name, figures in found.items()})
        uvloop.run(delays(server, 3.0 if quick else 10.0))


if __name__ == "__main__":
    main()
