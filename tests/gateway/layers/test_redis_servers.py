"""Redis in each of its forms: TLS, Sentinel with a fail-over, a cluster of two nodes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from layer_contract import Account, member, next_of
from servers.certificates import make
from servers.ports import free_port
from servers.redis import RedisServer, redis_process, sentinels
from servers.site import until
from test_contract import opened
from waiting import until as eventually

from gateway.layers.address import Redis, parse_layer
from gateway.layers.redis.core import core_layer
from gateway.layers.redis.pubsub import pubsub_layer
from gateway.layers.shared import SharedChannelLayer


def made(url: str) -> SharedChannelLayer:
    address = parse_layer(url)
    assert isinstance(address, Redis)
    return core_layer(address) if address.core else pubsub_layer(address)


async def works(one: SharedChannelLayer, two: SharedChannelLayer) -> None:
    channel = await member(two, "g")
    await one.group_send("g", {"type": "x"})
    assert await next_of(two, channel) == {"type": "x"}


@contextlib.contextmanager
def with_tls(folder: Path) -> Iterator[tuple[int, str]]:
    pair = make(folder)
    port = free_port()
    more = ["--tls-port", str(port), "--port", "0", "--tls-auth-clients", "optional"]
    more += ["--tls-cert-file", pair.certificate, "--tls-key-file", pair.key, "--tls-ca-cert-file", pair.certificate]
    with redis_process(more):
        yield port, pair.certificate


@pytest.mark.parametrize("layer", ["pubsub", "core"])
async def test_tls(layer: str, tmp_path: Path) -> None:
    with with_tls(tmp_path) as (port, authority):
        url = f"rediss://localhost:{port}?layer={layer}&ca={authority}"
        async with opened([made(url), made(url)]) as (one, two):
            await works(one, two)


async def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    with with_tls(tmp_path) as (port, _):
        async with opened([made(f"rediss://localhost:{port}")]) as (layer,):
            await eventually(lambda: "certificate verify failed" in layer.trouble)


@pytest.mark.parametrize("layer", ["pubsub", "core"])
async def test_the_master_dies_and_the_sentinels_choose_another_one(layer: str) -> None:
    with sentinels() as (master, replica, port):
        url = f"redis+sentinel://127.0.0.1:{port}/main?layer={layer}"
        async with opened([made(url), made(url)]) as (one, two):
            account = Account(one, two)
            async with account.going_on():
                master.kill()
            assert account.is_balanced()
            assert "role:master" in await asyncio.to_thread(replica.command, "INFO", "replication")


def knows_the_other(node: RedisServer) -> bool:
    known = node.command("CLUSTER", "NODES")
    return known.count(" connected") == 2 and "handshake" not in known


@contextlib.asynccontextmanager
async def cluster() -> AsyncIterator[list[int]]:
    ports = [free_port(), free_port()]
    with contextlib.ExitStack() as stack:
        nodes = []
        for port in ports:
            more = ["--port", str(port), "--cluster-enabled", "yes", "--cluster-port", str(free_port())]
            nodes.append(stack.enter_context(redis_process(more)))
        bus = nodes[1].command("CONFIG", "GET", "cluster-port").split()[-1]
        nodes[0].command("CLUSTER", "MEET", "127.0.0.1", str(ports[1]), bus)
        await asyncio.to_thread(until, lambda: all(map(knows_the_other, nodes)), "the nodes have met")
        yield ports


async def test_groups_reach_processes_at_other_nodes_of_a_cluster() -> None:
    async with cluster() as (first, second):
        urls = [f"redis+cluster://127.0.0.1:{port}" for port in (first, second)]
        async with opened([made(url) for url in urls]) as (one, two):
            await works(one, two)
            await works(two, one)
        async with opened([made(f"redis+cluster://127.0.0.1:1,127.0.0.1:{first}")]) as (layer,):
            await works(layer, layer)
