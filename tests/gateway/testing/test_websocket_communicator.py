"""WebSockets, as our server runs them."""

from typing import Any

import pytest

from gateway import AsyncWebsocketConsumer, URLRouter, WebsocketConsumer, url
from gateway.testing import WebsocketCommunicator


class Room(WebsocketConsumer):
    """Sync: its handlers run on a thread."""

    def connect(self, message: Any) -> None:
        if self.scope["url_route"]["kwargs"]["room"] == "private":
            self.close(4003)
        else:
            self.accept("chat" if "chat" in self.scope["subprotocols"] else None)

    def receive(self, text: str | None, bytes: bytes | None = None) -> None:
        if text == "bye":
            self.send("so long")
            self.close(4000, "bye")
        else:
            self.send(text, bytes)


router = URLRouter([url(r"^rooms/(?P<room>\w+)/$", Room)])


async def test_text_bytes_and_json_come_back() -> None:
    async with WebsocketCommunicator(router, "/rooms/hall/?x=1", subprotocols=["chat", "v2"]) as room:
        assert room.scope["query_string"] == b"x=1"
        assert await room.connect() == (True, "chat")
        assert room.response_headers == []
        await room.send_to("hello")
        assert await room.receive_from() == "hello"
        await room.send_to(bytes_data=b"\0\xff")
        assert await room.receive_from() == b"\0\xff"
        await room.send_json_to({"a": 1})
        assert await room.receive_json_from() == {"a": 1}
        assert await room.receive_nothing(timeout=0.01)


async def test_a_connection_that_is_not_accepted() -> None:
    async with WebsocketCommunicator(router, "/rooms/private/") as room:
        assert await room.connect() == (False, 4003)

    async def denied(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"who?"})

    async with WebsocketCommunicator(denied, "/") as room:
        assert await room.connect() == (False, 401)
        assert (await room.receive_output())["body"] == b"who?"


async def test_the_application_closes() -> None:
    async with WebsocketCommunicator(router, "/rooms/hall/") as room:
        await room.connect()
        await room.send_to("bye")
        assert await room.receive_close() == 4000
        assert await room.receive_from() == "so long"
        await room.wait()

    async with WebsocketCommunicator(router, "/rooms/hall/") as room:
        await room.connect()
        await room.send_to("bye")
        await room.receive_from()
        with pytest.raises(AssertionError, match=r"but was 'websocket\.close'"):
            await room.receive_from()


async def test_the_close_code_reaches_the_application() -> None:
    codes: list[int] = []

    class Leaving(AsyncWebsocketConsumer):
        async def disconnect(self, code: int) -> None:
            codes.append(code)

    leaving = WebsocketCommunicator(Leaving, "/", headers={"Origin": "http://testserver"})
    assert (b"origin", b"http://testserver") in leaving.scope["headers"]
    assert await leaving.connect()
    await leaving.disconnect(code=1001)
    assert codes == [1001]


async def test_one_of_text_and_bytes() -> None:
    room = WebsocketCommunicator(router, "/rooms/hall/")
    for given in ({}, {"text_data": "a", "bytes_data": b"b"}):
        with pytest.raises(TypeError, match="one of them"):
            await room.send_to(**given)


async def test_what_a_browser_cannot_send_is_an_error_of_the_test() -> None:
    room = WebsocketCommunicator(router, "/rooms/hall/")
    values: Any = ({"a": 1}, "a")
    with pytest.raises(TypeError, match="send_to: text_data is a dict; write text; send_json_to sends other values"):
        await room.send_to(values[0])
    with pytest.raises(TypeError, match="send_to: bytes_data is a str; write bytes"):
        await room.send_to(bytes_data=values[1])
