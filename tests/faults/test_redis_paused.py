"""Redis stands still for a while and goes on: senders get an error soon, memory does not grow, and groups work again.

A few seconds in the suite; with FAULT_SEEDS, as in ``make faults``, a full minute."""

import asyncio
import contextlib
import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from layer_contract import Account, opened
from servers.redis import RedisServer, redis_process, sentinels
from waiting import until

from gateway.layers.address import Redis, parse_layer
from gateway.layers.bus import LayerUnavailable
from gateway.layers.redis.core import core_layer
from gateway.layers.redis.pubsub import pubsub_layer
from gateway.layers.shared import SharedChannelLayer

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

IS_LONG = "FAULT_SEEDS" in os.environ
SECONDS = 60.0 if IS_LONG else 4.0
LIMIT = 15.0
"""Seconds after which a sender without an answer waits for ever. It is told after 2 to 4 on a machine at rest."""
EVERY = 0.02
"""Seconds between two senders."""
LARGE = bytes(100_000)
MOST_GROWTH = 250_000_000
"""Bytes. In a minute, senders bring 300 MB, each 100 kB."""


def two_of(url: str) -> list[SharedChannelLayer]:
    address = parse_layer(url)
    assert isinstance(address, Redis)
    layer = core_layer if address.core else pubsub_layer
    return [layer(address), layer(address)]


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def send(layer: Any) -> str:
    """Return the error; empty if the message was sent."""
    async with asyncio.timeout(LIMIT):
        try:
            await layer.group_send("large", {"type": "x", "large": LARGE})
        except LayerUnavailable as error:
            return str(error)
    return ""


async def senders_meanwhile(layer: Any) -> None:
    """One sender after the other, none of which waits for those before it."""
    begun = resident()
    sending, troubles = [], set()
    for _ in range(int(SECONDS / EVERY)):
        sending.append(asyncio.ensure_future(send(layer)))
        troubles.add(layer.trouble)
        await asyncio.sleep(EVERY)
    assert resident() - begun < MOST_GROWTH
    assert any("does not answer" in each for each in troubles), troubles
    said = await asyncio.gather(*sending)
    refused = [each for each in said if each]
    assert len(refused) > len(said) / 3
    assert all("cut off" in each for each in refused), set(refused)


def stopped(server: RedisServer) -> Callable[[], None]:
    server.pause()
    return server.go_on


def told_to_pause(server: RedisServer) -> Callable[[], None]:
    server.command("CLIENT", "PAUSE", str(int(SECONDS * 1000)), "ALL")
    return lambda: None


@pytest.mark.parametrize("pause", [stopped, told_to_pause])
@pytest.mark.parametrize("kind", ["pubsub", "core"])
async def test_redis_stands_still(kind: str, pause: Callable[[RedisServer], Callable[[], None]]) -> None:
    with redis_process() as server:
        async with opened(two_of(f"{server.layer}?layer={kind}&prefix=t{secrets.token_hex(4)}")) as (one, two):
            account = Account(one, two)
            async with account.going_on():
                go_on = await asyncio.to_thread(pause, server)
                try:
                    await senders_meanwhile(one)
                finally:
                    go_on()
            assert account.is_balanced()
            assert (one.trouble, two.trouble) == ("", "")


@pytest.mark.parametrize("kind", ["pubsub", "core"])
async def test_the_master_stands_still_and_wakes_when_the_sentinels_have_chosen_another_one(kind: str) -> None:
    with sentinels() as (master, replica, port):
        async with opened(two_of(f"redis+sentinel://127.0.0.1:{port}/main?layer={kind}")) as (one, two):
            account = Account(one, two)
            async with account.going_on():
                master.pause()
                try:
                    await account.arrive_again()
                    await asyncio.sleep(SECONDS - 4.0)  # the pause is the subject
                finally:
                    master.go_on()

                async def follows() -> bool:
                    with contextlib.suppress(subprocess.CalledProcessError):  # it cuts its clients off meanwhile
                        return "role:slave" in await asyncio.to_thread(master.command, "INFO", "replication")
                    return False

                await until(follows, 40.0)
                await account.arrive_again()
            assert account.is_balanced()
            assert "role:master" in await asyncio.to_thread(replica.command, "INFO", "replication")
