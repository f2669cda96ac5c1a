"""What a replacement meets: a handler that blocks a thread, an end that is asked for in its midst."""

import asyncio
import itertools
import threading
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import test_replace
from test_replace import Load, ended, made, port, until

from gateway.config.loader import parse
from gateway.runtime.build import build
from gateway.runtime.install import install
from gateway.runtime.running import RunningGateway

HANDLERS = """
import threading
from gateway import HttpConsumer

began, end, threads = threading.Event(), threading.Event(), []

class First(HttpConsumer):
    def handle(self, body):
        threads.append(threading.current_thread())
        began.set()
        assert end.wait(20)
        self.respond(threading.current_thread().name.encode())

class Second(First):
    def handle(self, body):
        self.respond(b"second")
"""
FILE = """
servers: {{web: {{protocol: http, bind: "127.0.0.1:0"}}}}
routes: {{http: {{path: "", app: blocked_handlers.{name}}}}}
threads: 1
shutdown_timeout: {grace}
log: {{level: warning}}
"""


def blocked(name: str, grace: int = 10) -> RunningGateway:
    text = FILE.format(name=name, grace=grace)
    return RunningGateway(build(parse(text, name=f"{name}.yaml", folder=Path())))


async def ask(running: RunningGateway) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port(running, 'web')}/") as answer:
        return await answer.text()


async def test_a_sync_handler_ends_on_the_pool_where_it_began(replaced: Any) -> None:
    """The one thread of the old pool is busy, and the new pool has its own."""
    handlers = replaced("blocked_handlers", HANDLERS)
    one, two = blocked("First"), blocked("Second")
    await install(one)
    slow = asyncio.ensure_future(ask(one))
    await until(handlers.began.is_set)
    await install(two, one)
    assert [await ask(two) for _ in range(5)] == ["second"] * 5
    assert not slow.done()
    handlers.end.set()
    assert (await slow).startswith("handler-")
    await two.predecessor_ended()
    await until(lambda: not [each for each in threading.enumerate() if each.name == slow.result()])
    await ended(two)


async def test_a_sync_handler_that_does_not_end_holds_up_nobody(replaced: Any) -> None:
    handlers = replaced("blocked_handlers", HANDLERS)
    one, two = blocked("First", grace=1), blocked("Second")
    await install(one)
    slow = asyncio.ensure_future(ask(one))
    await until(handlers.began.is_set)
    await install(two, one)
    await two.predecessor_ended()
    assert "handler-" not in await slow, "it was cancelled after the grace of its gateway"
    assert await ask(two) == "second"
    handlers.end.set()
    await until(lambda: not handlers.threads[0].is_alive())  # else its helper finds a loop that has ended
    await ended(two)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("inbox", ["false", "true"])
async def test_a_replacement_that_is_cancelled_anywhere_loses_nothing(inbox: str, replaced: Any) -> None:
    """An end that is asked for cancels it, as the daemon does with a start; then the predecessor drains."""
    handlers = replaced("replaced_handlers", test_replace.HANDLERS)
    facts = {"inbox": inbox, "persistence": inbox}
    one = made("first", 3, **facts)
    await install(one)
    threads = threading.active_count()
    async with Load(one).running() as load:
        for turns in itertools.chain(range(0, 40, 3), range(40, 400, 60)):
            two = made("second", 4, **facts)
            swap = asyncio.ensure_future(install(two, one))
            for _ in range(turns):
                await asyncio.sleep(0)
            if swap.done():
                break
            swap.cancel()
            await asyncio.gather(swap, return_exceptions=True)
            if not swap.cancelled():  # it came to its end all the same
                break
            await two.abort()
            counts = {kind: len(each) for kind, each in load.acknowledged.items()}
            await until(lambda counts=counts: all(len(load.acknowledged[k]) > n + 3 for k, n in counts.items()))
    assert swap.cancelled() or swap.exception() is None
    running = one if swap.cancelled() else two
    await ended(running)
    assert load.acknowledged["mqtt"] <= {each.decode() for each in handlers.seen["mqtt"]}
    assert load.acknowledged["email"] <= handlers.seen["email"].keys()
    await until(lambda: threading.active_count() <= threads + 4)


@pytest.mark.parametrize("inbox", ["false", "true"])
async def test_the_successor_is_stopped_while_its_predecessor_drains(inbox: str, replaced: Any) -> None:
    handlers = replaced("replaced_handlers", test_replace.HANDLERS)
    facts = {"inbox": inbox, "persistence": inbox}
    one, two = made("first", 3, **facts), made("second", 4, **facts)
    await install(one)
    load = Load(one)
    clients = [asyncio.ensure_future(work()) for work in (load._slow, load._publish, load._publish)]
    await until(lambda: load.answers and len(load.acknowledged["mqtt"]) > 20)
    await install(two, one)
    await two.drain()
    assert not one.active(), "the predecessor has ended before the successor"
    for client in clients:  # what they cannot say any more, they keep
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    await two.shut_down()
    await two.close()
    if inbox == "true":  # what is stored and not handled yet is for the next start
        again = made("first", 3, **facts)
        await install(again)
        await ended(again)
    assert load.acknowledged["mqtt"] <= {each.decode() for each in handlers.seen["mqtt"]}
