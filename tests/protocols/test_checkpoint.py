"""The event loop has its turn, whatever is awaited in a loop."""

import asyncio
import contextlib
from typing import Any

import pytest
from test_app_run import Call
from turns import LONGEST, counted

from protocols.checkpoint import SLICE, Checkpoints, checkpoint
from protocols.errors import LocalProtocolError

LIMIT = 5.0
MANY = 200_000
"""Events; without a turn of the loop they take longer than LONGEST."""


async def test_who_sends_on_and_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "call.answer"})
        for _ in range(MANY):
            await send({"type": "call.speak", "words": ""})

    call = Call(app)
    async with counted() as turns:
        assert await call.run() is None
    assert len(call.heard) == MANY + 1
    assert turns.longest < LONGEST


async def test_who_is_flooded() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(MANY):
            await receive()

    call = Call(app)
    for _ in range(MANY):
        call.feed({"type": "call.words"})
    async with counted() as turns:
        assert await call.run() is None
    assert turns.longest < LONGEST


@pytest.mark.parametrize("event", [{"type": "call.speak", "words": ""}, {"type": "call.answer", "broken": True}])
async def test_who_tries_on_and_on(event: Any) -> None:
    class Broken(Call):
        def call_answer(self, event: Any) -> None:
            raise LocalProtocolError("broken")

    raised = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal raised
        for _ in range(MANY):
            try:
                await send(event)
            except LocalProtocolError:
                raised += 1

    async with counted() as turns:
        assert await Broken(app).run() is None
    assert raised == MANY
    assert turns.longest < LONGEST


async def test_a_peer_that_is_gone_is_no_reason_to_stop_the_loop() -> None:
    raised = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal raised
        await receive()
        for _ in range(MANY):
            try:
                await send({"type": "call.answer"})
            except OSError:
                raised += 1

    call = Call(app)
    gone: Any = {"type": "call.disconnect"}
    call.disconnect(gone)
    async with counted() as turns:
        await call.run()
    assert raised > 0  # then its grace is over, which only a loop that turns can say
    assert turns.longest < LONGEST


async def test_a_cancelled_checkpoint_loses_no_event() -> None:
    got: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while len(got) < MANY // 10:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    while True:
                        got.append((await receive())["words"])

    call = Call(app)
    for number in range(MANY // 10):
        call.feed({"type": "call.words", "words": str(number)})
    async with asyncio.timeout(LIMIT * 4):
        await call.run()
    assert got == [str(number) for number in range(MANY // 10)]


async def test_all_together_have_one_slice() -> None:
    """A hundred that flood do not have a hundred slices."""
    now = 0.0
    checkpoints = Checkpoints(lambda: now)
    order: list[int] = []

    async def flood(number: int) -> None:
        nonlocal now
        for _ in range(16):
            now += SLICE / 8
            checkpoints.left -= 1
            if checkpoints.left < 0:
                await checkpoints.read_clock()
            order.append(number)

    await asyncio.gather(*(flood(number) for number in range(20)))
    first = order[: order.index(19)]
    assert max(first.count(number) for number in range(20)) <= 2 * 9 + 1


async def test_a_loop_that_was_closed_meanwhile_leaves_nothing() -> None:
    def other_loop() -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(_spend())
        loop.close()

    await asyncio.to_thread(other_loop)
    async with counted() as turns:
        for _ in range(MANY):
            await checkpoint()
    assert turns.longest < LONGEST


async def _spend() -> None:
    for _ in range(9):
        await checkpoint()
