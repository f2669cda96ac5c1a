"""Channel layers, and what collects answers: awaited in a loop, they let the event loop have its turn."""

import asyncio
import contextlib
from functools import partial
from typing import Any

import pytest
from conversation import Conversation, scope
from turns import LONGEST, counted

from gateway import AsyncMqttBatchConsumer, EmailToRouter, TopicRouter, address, topic
from gateway.layers import InMemoryChannelLayer
from gateway.scopes.email.delivery import EmailAttempt
from gateway.scopes.mqtt.delivery import MQTTAttempt
from gateway.scopes.sms.delivery import TextAttempt
from protocols.errors import LocalProtocolError
from protocols.sms.provider import TextMessage
from protocols.sms.run import TextRun

MANY = 100_000
LIMIT = 50.0
"""Seconds after which a test hangs. What is measured is CPU time."""
SMS: Any = {"type": "sms", "sender": "+1", "recipient": "+2", "message_id": "m", "provider": "generic"}
TEXT = {"type": "sms.send", "text": "hello"}
MAIL = {"type": "email.send", "mail_from": "", "rcpt_to": ["a@example.org"], "message": b"a: b\r\n\r\nc"}
CONNECT = {"type": "mqtt.connect", "username": None, "password": None}
DISCONNECT = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}
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
    async with counted() as turns, asyncio.timeout(LIMIT):
        for _ in range(MANY):
            await layer.group_send("all", {"type": "x"})
    reading.cancel()
    assert turns.longest < LONGEST
    assert got > 2  # the reader had its turn, too


async def test_a_full_channel_is_read_on_and_on() -> None:
    layer = InMemoryChannelLayer(capacity=MANY)
    for _ in range(MANY):
        layer._put("one", {"type": "x"})
    async with counted() as turns, asyncio.timeout(LIMIT):
        for _ in range(MANY):
            await layer.receive("one")
    assert turns.longest < LONGEST


async def test_groups_are_joined_and_left_on_and_on() -> None:
    layer = InMemoryChannelLayer()
    async with counted() as turns, asyncio.timeout(LIMIT):
        for number in range(MANY):
            await layer.group_add(f"g{number}", "one")
            await layer.group_discard(f"g{number}", "one")
    assert turns.longest < LONGEST


async def test_channels_are_made_and_forgotten_on_and_on() -> None:
    layer = InMemoryChannelLayer()
    async with counted() as turns, asyncio.timeout(LIMIT):
        for _ in range(4 * MANY):
            await layer.forget(await layer.new_channel())
    assert turns.longest < LONGEST


@pytest.mark.parametrize(
    ("make", "first", "event"),
    [
        (lambda app: TextRun(app, SMS, TextMessage("+1", "+2", "m", "hi")), None, TEXT),
        (lambda app: TextAttempt(app, SMS, [{"type": "sms.receive", "text": "", "media": []}]), None, TEXT),
        (lambda app: EmailAttempt(app, scope("email"), []), None, MAIL),
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
    async with counted() as turns, asyncio.timeout(LIMIT):
        await run.run()
    assert run.error is None
    assert turns.longest < LONGEST


# Half as many where all are kept until the end: the garbage collector looks at them in one turn.
SENT_ON: dict[str, tuple[str, Any, int]] = {
    "a group's verdict that cannot be given": ("email", {"type": "email.reject", "code": 250}, MANY // 2),
    "a batch's publications": ("batch", PUBLICATION, MANY // 2),
    "a batch's publications that cannot be": ("batch", {**PUBLICATION, "qos": 7}, MANY // 2),
    "another accept of a topic's route": ("mqtt", {"type": "mqtt.accept"}, 4 * MANY),
}


@pytest.mark.parametrize(("kind", "event", "times"), SENT_ON.values(), ids=SENT_ON)
async def test_what_answers_for_a_connection_is_sent_to_on_and_on(kind: str, event: Any, times: int) -> None:
    async def again_and_again(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for _ in range(times):
            with contextlib.suppress(LocalProtocolError):
                await send(event)

    class Batch(AsyncMqttBatchConsumer):
        max_delay = 0.0

        async def receive_batch(self, messages: Any) -> None:
            await again_and_again(None, partial(asyncio.sleep, 0), self._emit)

    message = {
        "type": "mqtt.receive",
        "topic": "a",
        "payload": b"",
        "qos": 0,
        "retain": False,
        "dup": False,
        "id": None,
    }
    message |= {"properties": {}}
    apps: dict[str, tuple[Any, Any, list[Any]]] = {
        "email": (
            EmailToRouter([address("a@x.org", again_and_again), address("b@x.org", again_and_again)]),
            scope("email", rcpt_to=["a@x.org", "b@x.org"]),
            [{"type": "email.receive", "body": b"", "more_body": False}],
        ),
        "batch": (Batch.as_asgi(), scope("mqtt"), [CONNECT, message, DISCONNECT]),
        "mqtt": (TopicRouter([topic("a", again_and_again)]), scope("mqtt"), [CONNECT, message, DISCONNECT]),
    }
    app, its_scope, events = apps[kind]
    async with counted() as turns, asyncio.timeout(LIMIT), Conversation(app, its_scope) as peer:
        peer.say(*events)
        await peer.end()
    assert turns.longest < LONGEST
