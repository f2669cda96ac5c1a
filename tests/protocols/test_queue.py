"""The one queue and the one way to wake a task: nothing is lost, whichever task is cancelled, and whenever."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.queue import Queue
from protocols.wakeup import Wakeup

STEPS = st.lists(st.sampled_from(["put", "get", "take", "cancel", "let run", "room"]), max_size=40)


@given(STEPS, st.integers(1, 4), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_order_of_put_get_take_cancel_and_close_loses_nothing(steps: Sequence[str], limit: int, last: bool) -> None:
    asyncio.run(_any_order(steps, limit, last))


async def _any_order(steps: Sequence[str], limit: int, last: bool) -> None:
    queue: Queue[int] = Queue(limit)
    numbers, put, got = count(), [], []
    tasks: list[asyncio.Task[None]] = []

    async def get() -> None:
        got.append(await queue.get())

    async def take() -> None:
        got.extend(await queue.take())

    def add() -> None:
        put.append(number := next(numbers))
        queue.put(number)

    def cancel() -> None:
        if alive := [task for task in tasks if not task.done()]:
            alive[len(put) % len(alive)].cancel()

    does: dict[str, Callable[[], object]] = {
        "put": add,
        "get": lambda: tasks.append(asyncio.create_task(get())),
        "take": lambda: tasks.append(asyncio.create_task(take())),
        "room": lambda: tasks.append(asyncio.create_task(queue.room())),
        "cancel": cancel,
    }
    for step in steps:
        if step == "let run":
            await asyncio.sleep(0)
        else:
            does[step]()
    if last:
        add()
    queue.close()
    async with asyncio.timeout(5):  # nobody waits any longer, whatever was cancelled before
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(each is None or isinstance(each, EOFError | asyncio.CancelledError) for each in results)
    assert got + list(queue) == put, "lost, or out of order"


async def test_one_that_is_cancelled_in_the_moment_of_an_item_leaves_it_to_the_other() -> None:
    queue: Queue[str] = Queue(1)
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert queue.awaited
    queue.put("a")
    first.cancel()
    assert await asyncio.wait_for(second, 5) == "a"
    assert not queue.awaited


async def test_room_is_when_half_of_it_is_free() -> None:
    queue: Queue[int] = Queue(4)
    for number in range(4):
        queue.put(number)
    assert queue.full
    room = asyncio.create_task(queue.room())
    await queue.get()
    await asyncio.sleep(0)
    assert not room.done()
    await queue.get()
    await asyncio.wait_for(room, 5)
    await queue.room()  # at once


async def test_after_the_end_what_is_left_comes_first() -> None:
    queue: Queue[int] = Queue(4)
    queue.put(1)
    queue.close()
    assert await queue.get() == 1
    assert await queue.take() == []
    with pytest.raises(EOFError):
        await queue.get()


async def test_taking_takes_all() -> None:
    queue: Queue[int] = Queue(4)
    taking = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put(1)
    queue.put(2)
    assert await taking == [1, 2]


async def test_a_flood_leaves_the_loop_its_turn() -> None:
    queue: Queue[int] = Queue(10**6)
    queue.extend(range(10**6))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    for _ in range(200_000):
        await queue.get()
    other.cancel()
    assert turns > 2


async def test_all_that_wait_are_woken_and_the_next_wake_is_remembered_by_nobody() -> None:
    wakeup = Wakeup()
    wakeup.wake()
    waiting = [asyncio.create_task(wakeup.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert wakeup.awaited
    assert not any(task.done() for task in waiting)
    wakeup.wake()
    wakeup.wake()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert not wakeup.awaited
