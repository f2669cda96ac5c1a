"""Channel layers, and what collects answers: awaited in a loop, they let the event loop have its turn."""

import asyncio
from typing import Any

import pytest
from turning import LONGEST, turning

from gateway.delivery.attempt import EmailAttempt, MQTTAttempt, SMSAttempt
from gateway.layers import InMemoryChannelLayer
from protocols.sms.provider import Message
from protocols.sms.run import MessageRun

MANY = 100_000
LIMIT = 10.0
SMS: Any = {"type": "sms", "sender": "+1", "recipient": "+2", "message_id": "m", "provider": "generic"}
TEXT = {"type": "sms.send", "text": "hello"}
MAIL = {"type": "email.send", "mail_from": "", "rcpt_to": ["a@example.org"], "message": b"a: b\r\n\r\nc"}
PUBLICATION = {"type": "mqtt.send", "topic": "a", "payload": b""}


async def test_a_group_is_sent_to_on_and_on() -> None:
    layer = InMemoryChannelLayer(capacity=2)
    await layer.group_add("all", "one")
    got = 0

    async def read() -> None:
        nonlocal got
        while True:
            await layer.receive("one")
            got += 1

    reading = asyncio.ensure_future(read())
    async with turning() as longest, asyncio.timeout(LIMIT):
        for _ in range(MANY):
            await layer.group_send("all", {"type": "x"})
    reading.cancel()
    assert longest[0] < LONGEST
    assert got > 2  # the reader had its turn, too


async def test_a_full_channel_is_read_on_and_on() -> None:
    layer = InMemoryChannelLayer(capacity=MANY)
    for _ in range(MANY):
        layer._put("one", {"type": "x"})
    async with turning() as longest, asyncio.timeout(LIMIT):
        for _ in range(MANY):
            await layer.receive("one")
    assert longest[0] < LONGEST


async def test_groups_are_joined_and_left_on_and_on() -> None:
    layer = InMemoryChannelLayer()
    async with turning() as longest, asyncio.timeout(LIMIT):
        for number in range(MANY):
            await layer.group_add(f"g{number}", "one")
            await layer.group_discard(f"g{number}", "one")
    assert longest[0] < LONGEST


@pytest.mark.parametrize(
    ("make", "first", "event"),
    [
        (lambda app: MessageRun(app, SMS, Message("+1", "+2", "m", "hi")), None, TEXT),
        (lambda app: SMSAttempt(app, SMS, [{"type": "sms.receive", "text": "", "media": []}]), None, TEXT),
        (lambda app: EmailAttempt(app, {"type": "email"}, []), None, MAIL),
        (
            lambda app: MQTTAttempt(app, {"type": "mqtt", "username": None}, []),
            {"type": "mqtt.accept"},
            PUBLICATION,
        ),
    ],
    ids=["sms", "sms inbox", "email", "mqtt inbox"],
)
async def test_a_handler_that_sends_on_and_on(make: Any, first: Any, event: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if first:
            await send(first)
        for _ in range(MANY // 2):
            await send(event)

    run = make(app)
    async with turning() as longest, asyncio.timeout(LIMIT):
        await run.run()
    assert run.error is None
    assert longest[0] < LONGEST
