"""The in-memory channel layer."""

import asyncio
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from gateway.frames import short
from gateway.layers import origins
from gateway.layers.memory import InMemoryChannelLayer
from gateway.threads import run_in_thread

LIMIT = 5.0


async def test_a_group_reaches_its_members_and_nobody_else() -> None:
    layer = InMemoryChannelLayer()
    first, second = await layer.new_channel(), await layer.new_channel()
    assert first != second
    await layer.group_add("g", first)
    await layer.group_add("g", second)
    await layer.group_discard("g", second)
    await layer.group_discard("no such group", second)
    await layer.group_send("g", {"type": "x", "n": 1})
    assert await layer.receive(first) == {"type": "x", "n": 1}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await layer.receive(second)


async def test_a_channel_that_nobody_reads_is_bounded_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    layer = InMemoryChannelLayer(capacity=3)
    for number in range(10):
        await layer.send("slow", {"type": "x", "n": number})
    assert layer.dropped == 7
    assert len(caplog.records) == 1
    assert [(await layer.receive("slow"))["n"] for _ in range(3)] == [0, 1, 2]


async def test_a_message_from_a_handlers_thread_wakes_the_reader() -> None:
    layer = InMemoryChannelLayer()
    reading = asyncio.ensure_future(layer.receive("c"))
    await asyncio.sleep(0)
    await run_in_thread(async_to_sync(layer.send), "c", {"type": "x"})
    async with asyncio.timeout(LIMIT):
        assert await reading == {"type": "x"}


async def test_a_forgotten_channel_holds_nothing() -> None:
    layer = InMemoryChannelLayer()
    await layer.send("c", {"type": "x"})
    await layer.forget("c")
    assert layer._channels == {}


async def test_a_channel_that_is_forgotten_is_in_no_group_any_more() -> None:
    layer = InMemoryChannelLayer()
    for group in ("a", "b", "b"):
        await layer.group_add(group, "one")
    await layer.group_add("b", "two")
    await layer.group_discard("c", "one")
    await layer.forget("one")
    await layer.group_send("b", {"type": "x"})
    assert (layer.groups, layer.channels, layer.unread) == (1, 1, 1)
    await layer.group_discard("b", "two")
    await layer.forget("two")
    assert (layer.groups, layer.channels, layer._joined) == (0, 0, {})


async def test_a_member_that_leaves_while_a_group_is_told_has_no_channel_any_more() -> None:
    layer = InMemoryChannelLayer()
    members = [await layer.new_channel() for _ in range(1000)]
    for name in members:
        await layer.group_add("all", name)

    async def leave(name: str, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await layer.group_discard("all", name)
        await layer.forget(name)

    async def tell() -> None:
        while layer.groups:
            await layer.group_send("all", {"type": "x"})

    await asyncio.gather(tell(), tell(), *(leave(name, turns % 50) for turns, name in enumerate(members)))
    assert (layer.groups, layer.channels, layer.unread) == (0, 0, 0)


def test_a_layer_whose_loop_is_closed_goes_on_with_the_next() -> None:
    """Each test of a project has a loop of its own, and the layer is the process's."""
    layer = InMemoryChannelLayer()

    async def one(number: int) -> Any:
        await layer.send("channel", {"type": "a", "number": number})
        return await layer.receive("channel")

    assert [asyncio.run(one(number))["number"] for number in (1, 2)] == [1, 2]


async def test_the_line_that_sends_a_message_is_noted() -> None:
    layer, here = InMemoryChannelLayer(), f"{short(__file__)}:"
    first = test_the_line_that_sends_a_message_is_noted.__code__.co_firstlineno
    await layer.group_send("g", {"type": "origin.group"})
    await layer.send("c", {"type": "origin.channel"})
    await layer.send("c", {"type": ["no text"]})
    found = [origins.origin(kind) for kind in ("origin.group", "origin.channel", "origin.none")]
    assert found == [f"{here}{first + 3}", f"{here}{first + 4}", ""]


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "_last", {})
    layer = InMemoryChannelLayer()
    for number in range(origins.MOST + 1):
        await layer.group_send("g", {"type": f"origin.{number}"})
    assert len(origins._last) == 1


async def test_channels_that_no_reader_asks_for_are_swept_with_their_memberships(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Consumers of Channels do not say when they end."""
    layer = InMemoryChannelLayer(expiry=60.0)
    gone, reads = await layer.new_channel(), await layer.new_channel()
    for channel in (gone, reads):
        await layer.group_add("g", channel)
    reading = asyncio.ensure_future(layer.receive(reads))
    await asyncio.sleep(0)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    await layer.group_send("g", {"type": "x"})
    assert (await reading, layer.unread) == ({"type": "x"}, 1)
    reading = asyncio.ensure_future(layer.receive(reads))
    await asyncio.sleep(0)
    now += 61
    await layer.send("another", {"type": "x"})
    assert (layer.unread, layer.dropped_by_reason()["expiry"], layer.groups) == (1, 1, 1)
    now += 86400
    await layer.send("another", {"type": "x"})
    assert layer._groups["g"].keys() == {reads}
    reading.cancel()
