"""What every channel layer keeps. A layer's tests inherit it and say how to make one::

    class TestMemory(LayerContract):
        @contextlib.asynccontextmanager
        async def layers(self, count: int) -> AsyncIterator[list[Any]]:
            yield [InMemoryChannelLayer()] * count

``layers`` yields ``count`` layers, each of which is what one process has; a layer that does not reach other processes
is the same one several times. Processes of their own are in tests/gateway/layers/test_daemons.py.
"""

import asyncio
import contextlib
import logging
import shutil
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from waiting import until

from gateway.layers import InMemoryChannelLayer
from gateway.layers.shared import SharedChannelLayer

LIMIT = 20.0
"""Seconds that any wait here may take."""
OPEN = 0.05
"""Seconds in which a message would have come that must not come."""


@contextlib.asynccontextmanager
async def opened(layers: list[SharedChannelLayer]) -> AsyncIterator[list[Any]]:
    try:
        for layer in layers:
            await layer.open()
        yield layers
    finally:
        for layer in layers:
            await layer.close()


async def next_of(layer: Any, channel: str, seconds: float = LIMIT) -> Any:
    async with asyncio.timeout(seconds):
        return await layer.receive(channel)


async def member(layer: Any, *groups: str) -> str:
    """A new channel in these groups."""
    channel: str = await layer.new_channel()
    for group in groups:
        await layer.group_add(group, channel)
    return channel


async def numbers(layer: Any, channel: str, count: int) -> list[int]:
    return [(await next_of(layer, channel))["n"] for _ in range(count)]


async def nothing_for(layer: Any, channel: str) -> bool:
    try:
        await next_of(layer, channel, OPEN)
    except TimeoutError:
        return True
    return False


@contextlib.contextmanager
def socket_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="layer", dir="/tmp"))  # a socket's path has 107 characters at most
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class LayerContract(ABC):
    @abstractmethod
    def layers(self, count: int) -> contextlib.AbstractAsyncContextManager[list[Any]]:
        """Make ``count`` layers, and close them in the end."""

    async def test_a_group_reaches_its_members_in_every_process_and_nobody_else(self) -> None:
        async with self.layers(3) as (one, two, three):
            members = [(one, await member(one, "g")), (two, await member(two, "g")), (two, await member(two, "g"))]
            stranger = await member(three, "other")
            await three.group_send("g", {"type": "x", "n": 1})
            for layer, channel in members:
                assert await next_of(layer, channel) == {"type": "x", "n": 1}
                assert await nothing_for(layer, channel)
            assert await nothing_for(three, stranger)

    async def test_a_sender_that_is_a_member_gets_its_own_message_once(self) -> None:
        async with self.layers(2) as (one, two):
            own, other = await member(one, "g"), await member(two, "g")
            await one.group_send("g", {"type": "x", "n": 1})
            assert await numbers(one, own, 1) == await numbers(two, other, 1) == [1]
            assert await nothing_for(one, own)

    async def test_who_has_left_a_group_gets_nothing_more(self) -> None:
        async with self.layers(2) as (one, two):
            gone, stays = await member(two, "g"), await member(two, "g")
            await two.group_discard("g", gone)
            await two.group_discard("no-such-group", gone)
            await one.group_send("g", {"type": "x", "n": 1})
            assert await numbers(two, stays, 1) == [1]
            assert await nothing_for(two, gone)

    async def test_a_channel_is_reached_from_another_process(self) -> None:
        async with self.layers(2) as (one, two):
            channel = await two.new_channel()
            receiving = asyncio.ensure_future(next_of(two, channel))
            await asyncio.sleep(0)
            await one.send(channel, {"type": "x", "n": 1})
            await one.send(channel, {"type": "x", "n": 2})
            assert (await receiving)["n"] == 1
            assert await numbers(two, channel, 1) == [2]

    async def test_each_sender_s_messages_stay_in_order(self) -> None:
        async with self.layers(3) as (one, two, three):
            channel = await member(three, "g")

            async def send(layer: Any, sender: str) -> None:
                for number in range(40):
                    await layer.group_send("g", {"type": "x", "sender": sender, "n": number})

            sending = asyncio.gather(send(one, "a"), send(two, "b"))
            found = [await next_of(three, channel) for _ in range(80)]
            await sending
            for sender in "ab":
                assert [each["n"] for each in found if each["sender"] == sender] == list(range(40))

    async def test_messages_from_other_threads_and_their_loops(self) -> None:
        async with self.layers(2) as (one, two):
            channel = await member(two, "g")
            own = await member(one, "g")
            receiving = asyncio.ensure_future(numbers(one, own, 3))
            for number in range(3):
                await asyncio.to_thread(async_to_sync(one.group_send), "g", {"type": "x", "n": number})
            assert await numbers(two, channel, 3) == await receiving == [0, 1, 2]

    async def test_names_of_every_script_and_length(self) -> None:
        async with self.layers(2) as (one, two):
            names = ["räume.1", "部屋", "a b/c#+", "x" * 2000] if self._takes_every_name(one) else ["a-b_c.1"]
            for number, name in enumerate(names):
                channel = await member(two, name)
                await one.group_send(name, {"type": "x", "n": number})
                assert await numbers(two, channel, 1) == [number]

    def _takes_every_name(self, layer: Any) -> bool:
        return isinstance(layer, InMemoryChannelLayer)

    async def test_every_value_that_a_message_may_have(self) -> None:
        async with self.layers(2) as (one, two):
            channel = await member(two, "g")
            message: dict[str, Any] = {
                "type": "x",
                "text": "ü\n",
                "bytes": b"\x00\xff",
                "none": None,
                "float": 1.5,
                "list": [1, [2]],
            }
            message |= {"bool": True, "map": {"a": {"b": 2}}, "large": "x" * 100_000}
            await one.group_send("g", message)
            assert await next_of(two, channel) == message

    async def test_a_group_without_members_takes_messages(self) -> None:
        async with self.layers(2) as (one, _):
            await one.group_send("nobody", {"type": "x"})


class OwnLayerContract(LayerContract):
    """What ours keep, and those of Channels do not: they drop without a count or keep everything, forget a channel
    whose receive is cancelled, and give the readers of one process one dict."""

    async def test_each_reader_has_a_message_of_its_own(self) -> None:
        async with self.layers(1) as (layer,):
            first, second = await member(layer, "g"), await member(layer, "g")
            await layer.group_send("g", {"type": "x"})
            (await next_of(layer, first))["changed"] = True
            assert await next_of(layer, second) == {"type": "x"}

    async def test_a_reader_that_is_cancelled_loses_nothing(self) -> None:
        async with self.layers(2) as (one, two):
            channel = await member(two, "g")
            found: list[int] = []
            sending = asyncio.ensure_future(self._send_slowly(one, 60))
            while len(found) < 60:
                receiving = asyncio.ensure_future(two.receive(channel))
                await asyncio.wait({receiving}, timeout=0.001)
                if not receiving.done():
                    receiving.cancel()
                    await asyncio.wait({receiving})
                if not receiving.cancelled():
                    found.append(receiving.result()["n"])
            await sending
            assert found == list(range(60))

    async def _send_slowly(self, layer: Any, count: int) -> None:
        for number in range(count):
            await layer.group_send("g", {"type": "x", "n": number})
            await asyncio.sleep(0.001)

    async def test_a_slow_reader_is_bounded_counted_and_named_and_holds_back_no_other(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with self.layers(2) as (one, two):
            two.capacity = 10
            slow, quick = await member(two, "g"), await member(two, "g")
            for number in range(50):
                await one.group_send("g", {"type": "x", "n": number})
                assert await numbers(two, quick, 1) == [number]
            assert two.dropped_by_reason()["capacity"] == 40
            assert await numbers(two, slow, 10) == list(range(10))
            (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
            assert slow in record.getMessage()
            await one.group_send("g", {"type": "x", "n": 50})
            assert await numbers(two, slow, 1) == [50]

    async def test_a_message_that_is_too_old_is_dropped_counted_and_named(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with self.layers(1) as (layer,):
            channel = await member(layer, "g")
            await layer.group_send("g", {"type": "x", "n": 1})
            await until(lambda: layer.unread)
            layer.expiry = -1.0
            assert await nothing_for(layer, channel)
            layer.expiry = 60.0
            await layer.group_send("g", {"type": "x", "n": 2})
            assert await numbers(layer, channel, 1) == [2]
            assert layer.dropped_by_reason()["expiry"] == 1
            assert f"channel {channel}: messages that were unread for more than" in caplog.text

    async def test_channels_that_nobody_reads_are_bounded_counted_and_named(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("gateway.layers.memory.MOST_UNCLAIMED", 3)
        async with self.layers(1) as (layer,):
            names = [await layer.new_channel() for _ in range(5)]
            for name in names:
                await layer.send(name, {"type": "x"})
            assert (layer.channels, layer.dropped_by_reason()["unread"]) == (3, 2)
            (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
            assert names[3] in record.getMessage()
            await next_of(layer, names[0])
            await layer.forget(names[1])
            for name in names[3:]:
                await layer.send(name, {"type": "x"})
                assert await next_of(layer, name) == {"type": "x"}

    async def test_a_channel_that_is_no_longer_read_leaves_nothing_behind(self) -> None:
        async with self.layers(1) as (layer,):
            channel = await member(layer, "g", "h")
            await layer.send(channel, {"type": "x"})
            await layer.group_discard("g", channel)
            await layer.group_discard("h", channel)
            await layer.forget(channel)
            assert (layer.channels, layer.groups, layer.unread) == (0, 0, 0)

    async def test_a_channel_may_join_again(self) -> None:
        async with self.layers(2) as (one, two):
            channel = await member(two, "g")
            await two.group_discard("g", channel)
            await one.group_send("g", {"type": "x", "n": 1})
            assert await nothing_for(two, channel)
            await two.group_add("g", channel)
            await one.group_send("g", {"type": "x", "n": 2})
            assert await numbers(two, channel, 1) == [2]


class SharedLayerContract(OwnLayerContract):
    """What our layers keep that reach other processes."""

    async def test_a_value_that_cannot_be_sent_is_a_mistake_of_the_sender(self) -> None:
        async with self.layers(2) as (one, two):
            channel = await member(two, "g")
            with pytest.raises(TypeError, match=r"the value of 'when' is not text, bytes.*value.isoformat\(\)"):
                await one.group_send("g", {"type": "x", "when": datetime.now(UTC)})
            with pytest.raises(TypeError, match=r"the value of 'rows\[1\].price' is not text.*str\(value\)"):
                await one.send(channel, {"type": "x", "rows": [{}, {"price": Decimal("1.2"), "n": 1}]})
            with pytest.raises(ValueError, match="a channel layer takes 4194304"):
                await one.group_send("g", {"type": "x", "large": bytes(5_000_000)})
            await one.group_send("g", {"type": "x", "n": 1})
            assert await numbers(two, channel, 1) == [1]
            assert two.gaps.missed == 0, "those that were refused have no numbers"

    async def test_a_tuple_is_a_list_for_members_here_as_for_those_elsewhere(self) -> None:
        async with self.layers(2) as (one, two):
            here, there = await member(one, "g"), await member(two, "g")
            await one.group_send("g", {"type": "x", "pair": (1, 2)})
            assert await next_of(one, here) == await next_of(two, there) == {"type": "x", "pair": [1, 2]}

    async def test_a_channel_of_another_process_cannot_be_added_to_a_group(self) -> None:
        async with self.layers(2) as (one, two):
            with pytest.raises(ValueError, match="of another process"):
                await one.group_add("g", await two.new_channel())

    async def test_one_of_several_readers_of_a_general_channel_gets_a_message(self) -> None:
        async with self.layers(2) as (one, two):
            receiving = asyncio.ensure_future(next_of(two, "thumbnails"))
            await until(lambda: "thumbnails" in two._channels)
            await one.send("thumbnails", {"type": "x", "n": 1})
            assert (await receiving)["n"] == 1

    async def test_a_reader_on_another_loop_that_is_cancelled_loses_nothing(self) -> None:
        async with self.layers(1) as (layer,):
            channel = await layer.new_channel()
            await layer.open()
            ends = threading.Event()

            async def read() -> list[int]:
                found = []
                while not (ends.is_set() and not layer.unread):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.0007):
                            found.append((await layer.receive(channel))["n"])
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(OPEN):
                        while True:
                            found.append((await layer.receive(channel))["n"])
                return found

            reading = asyncio.ensure_future(asyncio.to_thread(asyncio.run, read()))
            for number in range(2000):
                await layer.send(channel, {"type": "x", "n": number})
                await until(lambda: layer.unread < 50)
                await asyncio.sleep(0)
            ends.set()
            assert (await reading, layer.dropped) == (list(range(2000)), 0)


class Account:
    """Sends numbered messages through whatever happens to the layer, and keeps account of each."""

    def __init__(self, sender: Any, receiver: Any) -> None:
        self.sender, self.receiver = sender, receiver
        self.found: list[int] = []
        self.sent = 0
        self.refused = 0
        self._ends = False

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Send and receive during the block, and until messages arrive again after it."""
        channel = await member(self.receiver, "account")
        tasks = [asyncio.ensure_future(each) for each in (self._send(), self._receive(channel))]
        try:
            await until(lambda: len(self.found) >= 20)
            yield
            await self.arrive_again()
        finally:
            self._ends = True  # a cancel that comes while redis-py connects may be lost
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=LIMIT)

    async def arrive_again(self) -> None:
        """Wait until messages that are sent from now on arrive."""
        now = self.sent
        await until(lambda: self.found and self.found[-1] > now + 20, 40.0)

    async def _send(self) -> None:
        while not self._ends:
            self.sent += 1
            try:
                await self.sender.group_send("account", {"type": "x", "n": self.sent})
            except ConnectionError:
                self.refused += 1
            await asyncio.sleep(0.002)

    async def _receive(self, channel: str) -> None:
        while True:
            self.found.append((await self.receiver.receive(channel))["n"])

    def is_balanced(self) -> bool:
        """Whether every message has arrived or was counted as missed or dropped, none has come twice, and all in
        order."""
        lost = self.found[-1] - self.found[0] + 1 - len(self.found)
        counted = self.receiver.gaps.missed + self.receiver.dropped_by_reason()["capacity"]
        assert (self.found, lost) == (sorted(set(self.found)), counted), f"{lost} lost, {counted} counted"
        return True
