"""Workers that are retired, and workers and parents that are killed, under load.

A parent that keeps its workers' sockets loses no connection at a retirement, and at a kill only those that the worker
had accepted.
"""

import asyncio
import collections
import os
import random
import threading
import time
from pathlib import Path

import psutil
import pytest
from servers.replaced import Replaced
from servers.replaced_load import Load
from servers.site import until
from servers.workers import Workers, alive

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

SEEDS = int(os.environ.get("FAULT_SEEDS", "1"))
TIMES = 30 if SEEDS > 3 else 4
"""Retirements, and kills, of which each is counted."""
CLIENTS = 16
KILLS = 2
HANDLERS = """
import asyncio
import os
import gateway

class Page(gateway.AsyncHttpConsumer):
    async def handle(self, body):
        await asyncio.sleep(0.0005)
        await self.respond(str(os.getpid()))
"""
FILE = """
workers: {workers}
servers: {{web: {{protocol: http, bind: "127.0.0.1:PORT", max_per_address: 0}}}}
routes: {{http: handlers.Page}}
console: {{bind: "127.0.0.1:{console}"}}
log: {{level: warning}}
{more}
"""


class Requests:
    """Clients that ask all the time, each time on a new connection."""

    def __init__(self, port: int) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self._port = port
        self._ends = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask_all()))
        self._thread.start()

    @property
    def lost(self) -> int:
        return sum(number for outcome, number in self.outcomes.items() if outcome != "answered")

    async def _ask_all(self) -> None:
        await asyncio.gather(*(self._ask_on() for _ in range(CLIENTS)))

    async def _ask_on(self) -> None:
        while not self._ends.is_set():
            try:
                async with asyncio.timeout(30):
                    answered = await self._ask()
                self.outcomes["answered" if answered else "no answer"] += 1
            except (OSError, TimeoutError) as error:
                self.outcomes[type(error).__name__] += 1

    async def _ask(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            return b"200" in await reader.readline()
        finally:
            writer.transport.abort()

    def grow(self) -> None:
        """Wait until many more have been answered."""
        wanted = self.outcomes["answered"] + 200
        until(lambda: self.outcomes["answered"] > wanted, lambda: str(self.outcomes), 60)

    def end(self) -> None:
        self._ends.set()
        self._thread.join()


def test_no_connection_is_lost_when_workers_are_retired(tmp_path: Path) -> None:
    site = Workers(tmp_path, handlers=HANDLERS, file=FILE)
    until(lambda: len(site.answering()) == 2, site.said)
    requests = Requests(site.port)
    descriptors = 0
    try:
        for _ in range(TIMES // 2):
            before = set(site.pids())
            told = site.command("reload", "--force")
            assert "runs, after" in told
            until(lambda: not before & set(alive(site.pids())), site.said, 60)  # noqa: B023 -- called at once
            requests.grow()
            has = psutil.Process(site.process.pid).num_fds()
            assert descriptors in (0, has), "the parent keeps nothing of workers that have ended"
            descriptors = has
    finally:
        requests.end()
        site.close()
    assert requests.lost == 0, requests.outcomes


def test_only_what_a_killed_worker_had_in_hand_is_lost(tmp_path: Path) -> None:
    site = Workers(tmp_path, handlers=HANDLERS, file=FILE)
    until(lambda: len(site.answering()) == 2, site.said)
    requests = Requests(site.port)
    lost = []
    try:
        for _ in range(TIMES):
            requests.grow()
            before, victim = requests.lost, site.pids()[0]
            psutil.Process(victim).kill()
            until(lambda: victim not in site.pids() and len(site.answering()) == 2, site.said, 60)  # noqa: B023 -- called at once
            lost.append(requests.lost - before)
            time.sleep(0 if TIMES < 10 else 6)  # many short lives one after another would be a crash loop
    finally:
        requests.end()
        site.close()
    assert max(lost) <= CLIENTS, (lost, requests.outcomes)
    assert "ConnectionRefusedError" not in requests.outcomes


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_that_was_acknowledged_is_lost_when_workers_and_parents_are_killed(tmp_path: Path, seed: int) -> None:
    moment = random.Random(seed)
    with Load(persistence=True) as load:
        load.files["gateway.yaml"] += "workers: 2\n"
        running = Replaced(tmp_path, load.files)
        try:
            until(lambda: len(running.processes()) == 3, running.said)
            load.begin(running)
            for _ in range(KILLS):
                load.grows()
                time.sleep(moment.uniform(0, 1))
                victim = moment.choice(running.processes())
                victim.kill()
                if victim.pid == running.process.pid:
                    running.process.wait()
                    running.start()  # as a supervisor does
                until(lambda: len(running.processes()) == 3, running.said, 60)
            load.grows()
            load.end()
            assert {line for line, times in load.handled().items() if times > 1 + KILLS} == set()
        finally:
            running.close()
