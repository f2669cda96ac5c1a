"""What a consumer has not handled when it ends is still there for the application around it."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from own_services import installed
from test_disconnect import idle, serving
from websockets.asyncio.client import connect as websocket

from gateway import AsyncWebsocketConsumer, InMemoryChannelLayer, get_channel_layer, layer_event
from gateway.consumers.base import StopConsumer
from gateway.layers import channel_layer


@pytest.fixture(autouse=True)
def _layer() -> Iterator[None]:
    with installed({channel_layer: InMemoryChannelLayer()}):
        yield


class Story:
    def __init__(self) -> None:
        self.at_work = asyncio.Event()
        self.go_on = asyncio.Event()
        self.handled: list[Any] = []
        self.left: list[Any] = []

    async def work(self, text: str, error: Exception) -> None:
        """Handle ``text``, and raise ``error`` once the test says so."""
        self.handled.append(text)
        self.at_work.set()
        await self.go_on.wait()
        raise error


class Login(AsyncWebsocketConsumer):
    """Handles one message, of the peer or of the group. The application around it handles the rest."""

    groups = ["logins"]

    def __init__(self, story: Story, error: Exception) -> None:
        self.story = story
        self.error = error

    async def receive(self, text: str) -> None:  # type: ignore[override]
        await self.story.work(text, self.error)

    @layer_event("login")
    async def on_login(self, event: Any) -> None:
        await self.story.work(event["text"], self.error)


def around(story: Story, error: Exception) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        with contextlib.suppress(ValueError):
            await Login.as_asgi(story=story, error=error)(scope, receive, send)
        while (event := await receive())["type"] != "websocket.disconnect":
            story.left.append(event["text"])
            await send({"type": "websocket.send", "text": event["text"]})

    return application


@pytest.mark.parametrize("error", [StopConsumer(), ValueError("a mistake")], ids=["stopped", "failed"])
@pytest.mark.parametrize("by_group", [False, True], ids=["of the peer", "of the group"])
async def test_no_event_is_lost_with_a_consumer_that_ends(error: Exception, by_group: bool) -> None:
    story = Story()
    async with asyncio.timeout(20), serving(around(story, error)) as server:
        async with websocket(f"ws://{server.address}/") as peer:
            if by_group:
                await get_channel_layer().group_send("logins", {"type": "login", "text": "first"})
            else:
                await peer.send("first")
            await story.at_work.wait()
            for text in ("second", "third"):
                await peer.send(text)
            await (await peer.ping())  # the server has read both
            await asyncio.sleep(0)
            story.go_on.set()
            assert [await peer.recv(), await peer.recv()] == ["second", "third"]
        await idle(server)
    assert (story.handled, story.left) == (["first"], ["second", "third"])
