"""A message that another process on the same store is at: its repetition here waits for what comes of it there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conversation import Conversation
from test_guard import TEXT, deliver, sms
from test_identity import NOW

from gateway import AsyncSMSConsumer, Policy
from gateway.delivery.guard import Guard
from gateway.scopes.sms.delivery import SMSDelivery
from gateway.store import Claim, ClaimState, codec
from gateway.store.sqlite import SQLiteStore

KEY = SMSDelivery().identity(sms(), TEXT).key
ANSWER = [{"type": "sms.send", "text": "from there", "media": []}, {"type": "sms.accept"}]
CLAIM = Claim("e1", ClaimState.OURS, 1, NOW, key=KEY)


class Here(AsyncSMSConsumer):
    runs = 0

    async def receive(self, text: str, media: Any) -> None:
        type(self).runs += 1
        await self.reply("from here")


@pytest.fixture
async def other(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SQLiteStore]:
    """It has claimed the message."""
    Here.runs = 0
    monkeypatch.setattr("gateway.delivery.guard.FIRST_LOOK", 0.01)
    other = SQLiteStore(store.path)
    await other.open()
    assert await other.claim(KEY, id="e1", now=NOW, ttl=60.0) == CLAIM
    yield other
    await other.close()


def guard() -> Any:
    return Guard(Here.as_asgi(), Policy(attempts=3), "label")


async def waiting() -> "asyncio.Task[list[Any]]":
    task = asyncio.ensure_future(deliver(guard(), sms(), TEXT))
    await asyncio.sleep(0.05)
    assert not task.done()
    return task


async def test_it_gets_the_answer_of_the_other(other: SQLiteStore) -> None:
    task = await waiting()
    await other.settle(CLAIM, result=codec.encode({}, ANSWER))
    assert (await task, Here.runs) == (ANSWER, 0)


async def test_it_is_tried_here_when_it_failed_there(other: SQLiteStore) -> None:
    task = await waiting()
    await other.release(KEY, error="E")
    assert ((await task)[0]["text"], Here.runs) == ("from here", 1)


async def test_it_is_tried_here_when_the_other_has_died(store: SQLiteStore, other: SQLiteStore) -> None:
    task = await waiting()
    await other.close()
    await store.recover()
    assert ((await task)[0]["text"], Here.runs) == ("from here", 1)


async def test_whose_time_is_out_is_told_to_try_again(other: SQLiteStore) -> None:
    async with Conversation(guard(), sms()) as server:
        server.say(*TEXT)
        await asyncio.sleep(0.05)
    assert server.heard() == [{"type": "sms.defer"}]
    await other.settle(CLAIM, result=b"")
    assert (await deliver(guard(), sms(), TEXT), Here.runs) == ([{"type": "sms.accept"}], 0)
