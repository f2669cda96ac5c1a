"""Relays and Redis that die, pause, start again or cut connections: every message arrives or is counted."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from layer_contract import Account, member, next_of, socket_folder
from servers.redis import RedisServer, redis_process
from servers.site import ROOT
from test_contract import address_of, opened
from waiting import until as eventually

from gateway.layers.bus import LayerUnavailable, Topic
from gateway.layers.ipc import frames, ipc_layer, place
from gateway.layers.redis.core import core_layer
from gateway.layers.redis.pubsub import pubsub_layer
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
    with socket_folder() as folder:
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


async def test_a_layer_that_is_closed_while_it_becomes_the_relay_leaves_no_relay(path: Path) -> None:
    for _ in range(20):
        layer: Any = ipc_layer(path)
        opening = asyncio.ensure_future(layer.open())
        await eventually(lambda layer=layer: layer.bus._becoming is not None)
        await layer.close()
        await asyncio.gather(opening, return_exceptions=True)
        assert layer.bus.relay is None
        assert not [each for each in threading.enumerate() if each.name == "layer-relay"]


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
    monkeypatch.setattr("gateway.layers.redis.pubsub.IDLE", 1.0)
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


async def joined_meanwhile(one: SharedChannelLayer, two: SharedChannelLayer, times: int, cut: Any) -> None:
    """Let pages join groups while the layer connects again, and look whether each is heard."""
    for number in range(3000):
        await member(two, f"before{number}")
    joined: dict[str, str] = {}
    for number in range(times):
        before = two.bus.state.interruptions
        cutting = asyncio.ensure_future(cut())
        while two.bus.state.interruptions == before or two.trouble or not two.bus.state.is_connected:
            group = f"meanwhile{number}.{len(joined)}"
            joined[group] = await member(two, group)
            await asyncio.sleep(0.0005)
        await cutting
    await eventually(lambda: not one.trouble and not two.trouble)
    for group, channel in joined.items():
        await one.group_send(group, {"type": "x", "group": group})
        assert (await next_of(two, channel))["group"] == group


async def test_who_joins_while_the_relay_is_replaced_is_heard(path: Path) -> None:
    async with opened([ipc_layer(path), ipc_layer(path)]) as (one, two):

        def relays() -> list[Any]:
            return [layer.bus.relay for layer in (one, two) if layer.bus.relay and layer.bus.relay.is_alive]

        async def cut() -> None:
            await eventually(relays)  # the last one may have ended, and the next one not have begun
            await asyncio.to_thread(relays()[0].stop)

        await joined_meanwhile(one, two, 8, cut)


CLIENTS = {"pubsub": "pubsub", "core": "normal"}
"""The type of the connection that receives, as Redis names it."""
GROUPS = {"pubsub": ("PUBSUB", "CHANNELS", "*__group__*"), "core": ("KEYS", "*:group:*")}
"""What Redis prints for this has a line for each group with a member."""


@pytest.mark.parametrize("kind", REDIS)
async def test_who_joins_while_the_connection_to_redis_is_made_again_is_heard(kind: str, redis: RedisServer) -> None:
    async with opened(two_of(kind, redis)) as (one, two):

        async def cut() -> None:
            await asyncio.to_thread(redis.command, "CLIENT", "KILL", "TYPE", CLIENTS[kind])

        await joined_meanwhile(one, two, 2, cut)


@pytest.mark.parametrize("kind", REDIS)
async def test_who_leaves_while_the_connection_to_redis_is_made_again_is_told_nothing_more(
    kind: str, redis: RedisServer
) -> None:
    async with opened(two_of(kind, redis)) as (_, two):
        channels = {f"g{number}": await member(two, f"g{number}") for number in range(3000)}
        before = two.bus.state.interruptions
        await asyncio.to_thread(redis.command, "CLIENT", "KILL", "TYPE", CLIENTS[kind])
        await eventually(lambda: two.bus.state.interruptions > before)
        for group, channel in channels.items():
            await two.group_discard(group, channel)
            await asyncio.sleep(0)
        await eventually(lambda: two.bus.state.is_connected)

        async def none_is_left() -> bool:
            return not (await asyncio.to_thread(redis.command, *GROUPS[kind])).strip()

        await eventually(none_is_left)


async def test_who_joins_again_at_once_waits_for_the_second_confirmation(redis: RedisServer) -> None:
    """Redis confirms in the order of the commands: the first confirmation is that of the first join."""
    async with opened(two_of("pubsub", redis)[:1]) as (layer,):
        topic = Topic.of_group("g")
        calls = [layer.bus.subscribe(topic), layer.bus.unsubscribe(topic), layer.bus.subscribe(topic)]
        first, _, again = map(asyncio.ensure_future, calls)
        await again
        assert first.done()


async def test_who_joins_and_leaves_while_redis_is_away_leaves_nothing_behind(redis: RedisServer) -> None:
    async with opened(two_of("core", redis)[:1]) as (layer,):
        redis.kill()
        await eventually(lambda: layer.trouble)
        for number in range(20):
            channel = await member(layer, f"g{number}")
            await layer.group_discard(f"g{number}", channel)
        assert layer.bus._members.joining() == []


async def test_a_program_that_reads_no_answers_is_disconnected(path: Path) -> None:
    async with opened([ipc_layer(path), ipc_layer(path)]) as (one, two):
        for asks in (
            frames.frame(frames.Kind.PUBLISH, b"c" + bytes(60_000)),
            frames.frame(frames.Kind.PING, b"", b"x" * 65),
        ):
            with socket.socket(socket.AF_UNIX) as hostile, pytest.raises(OSError, match=r"Broken pipe|reset"):
                hostile.connect(str(path))
                hostile.sendall(frames.GREETING)
                for _ in range(1000):
                    await asyncio.to_thread(hostile.sendall, asks)
        channel = await member(two, "g")
        await one.group_send("g", {"type": "x"})
        assert await next_of(two, channel) == {"type": "x"}
        assert (one.bus.relay or two.bus.relay).refused == 2


async def test_refusals_are_told_once_in_a_while_and_all_of_them_counted(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened([ipc_layer(path)]) as (layer,):
        for _ in range(30):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            writer.close()
        await eventually(lambda: layer.dropped_by_reason()["garbage"] == 30)
        assert caplog.text.count("was disconnected") == 1


async def test_a_relay_dies_while_a_sender_waits_for_it_which_is_told(path: Path, relay: RelayProcess) -> None:
    async with opened([ipc_layer(path)]) as (layer,):
        relay.process.send_signal(signal.SIGSTOP)
        sending = [asyncio.ensure_future(layer.group_send("g", {"type": "x", "n": bytes(500_000)})) for _ in range(20)]
        await asyncio.sleep(0)
        relay.process.kill()
        results = await asyncio.gather(*sending, return_exceptions=True)
        assert {type(each) for each in results if each is not None} == {LayerUnavailable}
        await layer.group_send("g", {"type": "x"})


async def test_messages_to_channels_that_no_process_reads_are_told_once_in_a_while(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened([ipc_layer(path)]) as (layer,):
        for number in range(50):
            await layer.send(f"nobody{number}", {"type": "x"})
        await eventually(lambda: layer.dropped_by_reason()["unread"] == 50)
        assert caplog.text.count("no process reads it") == 1
