"""Relays and Redis that die, pause, start again or cut connections: every message arrives or is counted."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from layer_contract import Account, member, next_of
from servers.redis import RedisServer, redis_process
from servers.site import ROOT
from test_contract import address_of, opened, short_folder
from waiting import until as eventually

from gateway.layers.bus import LayerUnavailable
from gateway.layers.ipc import frames, ipc_layer, place
from gateway.layers.redis.bus import pubsub_layer
from gateway.layers.redis.core import core_layer
from gateway.layers.shared import SharedChannelLayer

RELAY = """
import sys, time
from pathlib import Path
from gateway.layers.ipc import Relay

relay = Relay(Path(sys.argv[1]))
relay.start()
print("relays", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder / "layer.sock"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_process() as server:
        yield server


class RelayProcess:
    """A relay in a process of its own, as in the parent of several workers."""

    def __init__(self, path: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", RELAY, str(path)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"relays\n"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def relay(path: Path) -> Iterator[RelayProcess]:
    process = RelayProcess(path)
    yield process
    process.end()


async def test_a_relay_that_is_killed_is_replaced_and_every_message_accounted_for(
    path: Path, relay: RelayProcess
) -> None:
    async with opened([ipc_layer(path), ipc_layer(path)]) as (one, two):
        account = Account(one, two)
        async with account.going_on():
            for _ in range(3):
                if relay.process.poll() is None:
                    relay.process.kill()
                else:
                    relays = [layer for layer in (one, two) if layer.bus.relay is not None]
                    await asyncio.to_thread(relays[0].bus.relay.stop)
                await account.arrive_again()
        assert account.is_balanced()
        assert account.refused == 0, "another one takes over within the patience of a sender"


async def test_a_relay_that_is_stopped_is_replaced_and_gives_way_when_it_goes_on(
    path: Path, relay: RelayProcess
) -> None:
    async with opened([ipc_layer(path), ipc_layer(path)]) as (one, two):
        account = Account(one, two)
        async with account.going_on():
            relay.process.send_signal(signal.SIGSTOP)
            await account.arrive_again()
            taken_over = place.identity(path)
            relay.process.send_signal(signal.SIGCONT)
            await account.arrive_again()
        assert account.is_balanced()
        assert place.identity(path) == taken_over
        assert [one.bus.relay, two.bus.relay].count(None) == 1


async def test_many_processes_begin_at_once_and_have_one_relay(path: Path) -> None:
    layers: list[Any] = [ipc_layer(path) for _ in range(8)]
    await asyncio.gather(*(layer.open() for layer in layers))
    async with opened(layers):
        await eventually(lambda: sum(layer.bus.relay is not None and layer.bus.relay.is_alive for layer in layers) == 1)
        members = [await member(layer, "g") for layer in layers]
        await layers[0].group_send("g", {"type": "x"})
        for layer, channel in zip(layers, members, strict=True):
            assert await next_of(layer, channel) == {"type": "x"}


async def test_a_process_that_does_not_read_is_bounded_and_counted_and_holds_back_no_other(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened([ipc_layer(path), ipc_layer(path)]) as (one, two):
        with socket.socket(socket.AF_UNIX) as stuck:
            stuck.connect(str(path))
            stuck.sendall(frames.GREETING + frames.frame(frames.Kind.SUBSCRIBE, b"gg"))
            relay = one.bus.relay or two.bus.relay
            await eventually(lambda: len(relay.clients) == 3)
            channel = await member(two, "g")
            for number in range(80):
                await one.group_send("g", {"type": "x", "n": number, "large": bytes(100_000)})
                assert (await next_of(two, channel))["n"] == number
            assert 0 < relay.dropped < 80
            assert one.dropped_by_reason()["relay"] + two.dropped_by_reason()["relay"] == relay.dropped
            (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
            assert "a process reads too slowly" in record.getMessage()
            assert "the group g" in record.getMessage()


GARBAGE = {
    "another program": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "another version": b"asgi-gateway-layer 99\n",
    "no greeting": b"x" * 5000,
    "a frame that is too long": frames.GREETING + b"\xff\xff\xff\xff\x01\x00\x00",
    "a topic longer than its frame": frames.GREETING + b"\x00\x00\x00\x05\x03\xff\xff",
    "an unknown kind": frames.GREETING + b"\x00\x00\x00\x03\x63\x00\x00",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_at_the_socket_is_refused_and_harms_nobody(
    path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened([ipc_layer(path), ipc_layer(path)]) as (one, two):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(garbage)
        with contextlib.suppress(ConnectionResetError):
            assert frames.GREETING.startswith((await reader.read())[: len(frames.GREETING)])
        writer.close()
        channel = await member(two, "g")
        await one.group_send("g", {"type": "x"})
        assert await next_of(two, channel) == {"type": "x"}
        assert one.dropped_by_reason()["garbage"] + two.dropped_by_reason()["garbage"] == 1
        assert len([each for each in caplog.records if "was disconnected" in each.getMessage()]) == 1


async def test_the_socket_is_for_its_owner_alone(path: Path) -> None:
    async with opened([ipc_layer(path)]):
        assert [path.stat().st_mode & 0o777 for path in path.parent.iterdir()] == [0o600, 0o600]
    assert [left.suffix for left in path.parent.iterdir()] == [".lock"]


async def test_a_relay_of_another_version_is_a_sentence_and_not_replaced(path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"asgi-gateway-layer 2\n")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(greet, str(path))
    before = place.identity(path)
    layer = ipc_layer(path)
    async with opened([layer]):
        with pytest.raises(LayerUnavailable, match="it speaks version 2 of the layer's protocol, and this process 1"):
            await layer.group_send("g", {"type": "x"})
        assert "restart the older one" in layer.trouble
        assert place.identity(path) == before
    server.close()


async def test_a_process_that_may_not_relay_says_that_no_gateway_runs(path: Path) -> None:
    async with opened([ipc_layer(path, relays=False)]) as (layer,):
        with pytest.raises(LayerUnavailable, match="no gateway with this layer runs"):
            await layer.group_send("g", {"type": "x"})


async def test_a_folder_in_which_no_socket_can_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with opened([ipc_layer(tmp_path / "file" / "layer.sock")]) as (layer,):
        await eventually(lambda: "this process cannot be it" in layer.trouble)


REDIS = {"pubsub": pubsub_layer, "core": core_layer}


def two_of(kind: str, redis: RedisServer) -> list[SharedChannelLayer]:
    address = address_of(redis, f"&layer={kind}")
    return [REDIS[kind](address) for _ in range(2)]


@pytest.mark.parametrize("kind", REDIS)
async def test_redis_is_killed_and_starts_again_with_nothing(kind: str, redis: RedisServer) -> None:
    async with opened(two_of(kind, redis)) as (one, two):
        account = Account(one, two)
        async with account.going_on():
            redis.kill()
            await eventually(lambda: one.trouble and two.trouble)
            with pytest.raises(LayerUnavailable, match="cut off"):
                await one.group_send("g", {"type": "x"})
            await asyncio.to_thread(redis.start)
        assert account.is_balanced()
        assert (one.trouble, two.trouble, one.bus.state.interruptions) == ("", "", 1)


@pytest.mark.parametrize("kind", REDIS)
async def test_all_connections_to_redis_are_cut(kind: str, redis: RedisServer) -> None:
    async with opened(two_of(kind, redis)) as (one, two):
        account = Account(one, two)
        async with account.going_on():
            for each in ("normal", "pubsub", "normal"):
                await asyncio.to_thread(redis.command, "CLIENT", "KILL", "TYPE", each)
                await account.arrive_again()
        assert account.is_balanced()


@pytest.mark.parametrize("kind", REDIS)
async def test_redis_is_paused_and_goes_on(kind: str, redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(two_of(kind, redis)) as (one, two):
        account = Account(one, two)
        async with account.going_on():
            redis.pause()
            try:
                await eventually(lambda: one.trouble and two.trouble)
                assert "does not answer" in one.trouble
            finally:
                redis.go_on()
        assert account.is_balanced()


@pytest.mark.parametrize("kind", REDIS)
async def test_a_process_that_sleeps_hears_its_groups_when_it_wakes(
    kind: str, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its timers are due in one moment then: those of its connections, and those of their pings."""
    monkeypatch.setattr("gateway.layers.redis.bus.IDLE", 1.0)
    async with opened(two_of(kind, redis)) as (one, two):
        account = Account(one, two)
        async with account.going_on():
            for _ in range(3):
                time.sleep(2.5)  # noqa: ASYNC251 -- the process sleeps, and not this task alone
                await eventually(lambda: not one.trouble and not two.trouble)
        assert account.is_balanced()


@pytest.mark.parametrize("kind", REDIS)
async def test_a_layer_that_is_opened_while_redis_is_away_connects_later(
    kind: str, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.kill()
    one, two = two_of(kind, redis)
    async with opened([one, two]):
        channel = await member(two, "g")
        await eventually(lambda: "groups do not reach other processes" in caplog.text)
        assert one.trouble
        await asyncio.to_thread(redis.start)
        await eventually(lambda: not one.trouble and not two.trouble)
        await one.group_send("g", {"type": "x"})
        assert await next_of(two, channel) == {"type": "x"}


async def test_members_join_again_before_their_membership_ends(redis: RedisServer) -> None:
    address = address_of(redis, "&layer=core&group_expiry=1")
    async with opened([core_layer(address), core_layer(address)]) as (one, two):
        channel = await member(two, "g")
        key = f"{address.prefix}:group:g"
        first = await asyncio.to_thread(redis.command, "ZRANGE", key, "0", "-1", "WITHSCORES")

        async def is_renewed() -> bool:
            now = await asyncio.to_thread(redis.command, "ZRANGE", key, "0", "-1", "WITHSCORES")
            return bool(now) and float(now.split()[1]) > float(first.split()[1]) + 1.5

        await eventually(is_renewed)
        await one.group_send("g", {"type": "x"})
        assert await next_of(two, channel) == {"type": "x"}


async def test_a_password_that_redis_refuses_is_a_sentence_without_it(caplog: pytest.LogCaptureFixture) -> None:
    with redis_process(["--requirepass", "right"]) as redis:
        address = address_of(redis)
        async with opened([pubsub_layer(replace(address, password="wrong-one"))]) as (layer,):
            await eventually(lambda: "refuses the login" in layer.trouble)
            assert "wrong-one" not in layer.trouble + caplog.text
        async with opened([pubsub_layer(replace(address, password="right"))]) as (layer,):
            await layer.group_send("g", {"type": "x"})
