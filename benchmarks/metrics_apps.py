"""The applications of ``metrics_cost``, which count what they have done."""

from collections.abc import Callable
from typing import Any

from benchmarks.http_apps import BODY, START
from gateway import AsyncHttpConsumer, AsyncMqttConsumer
from protocols.asgi import Receive, Send


class Work:
    """What is left to do before ``done`` is called."""

    __slots__ = ("done", "left")

    def __init__(self) -> None:
        self.left = 0
        self.done: Callable[[], None] = lambda: None


work = Work()


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    work.left -= 1
    if not work.left:
        work.done()
    await send(START)
    await send({"type": "http.response.body", "body": BODY})


class Hello(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        work.left -= 1
        if not work.left:
            work.done()
        await self.respond(BODY, headers=[(b"content-type", b"text/plain")])


class Sensors(AsyncMqttConsumer):
    async def receive(self, topic: str, payload: bytes) -> None:
        work.left -= 1
        if not work.left:
            work.done()
