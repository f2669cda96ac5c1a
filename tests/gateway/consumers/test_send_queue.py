"""A WebSocket's peer that reads slowly, or not at all, and the messages that wait for it."""

import logging
from typing import Any

import pytest
from own_services import installed
from test_disconnect import idle, serving
from waiting import until
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed

from gateway import AsyncWebsocketConsumer, InMemoryChannelLayer, StopConsumer, WebsocketConsumer, layer_event
from gateway.layers import ChannelLayer, channel_layer
from protocols.errors import LocalProtocolError

LARGE = b"x" * 256 * 1024


class AsyncMany(AsyncWebsocketConsumer):
    """Sends so many messages, which begin with their number."""

    send_queue = 5

    def __init__(self, told: list[Any], size: bytes = LARGE) -> None:
        self.told = told
        self.size = size

    async def receive(self, text: str) -> None:  # type: ignore[override]
        for number in range(int(text)):
            await self.send(bytes=b"%d " % number + self.size)
        self.told.append("done")

    async def disconnect(self, code: int) -> None:
        self.told.append(code)


class SyncMany(WebsocketConsumer):
    send_queue = 5

    def __init__(self, told: list[Any], size: bytes = LARGE) -> None:
        self.told = told
        self.size = size

    def receive(self, text: str) -> None:  # type: ignore[override]
        for number in range(int(text)):
            self.send(bytes=b"%d " % number + self.size)
        self.told.append("done")


FORMS: dict[str, Any] = {"async": AsyncMany, "sync": SyncMany}


def number_of(message: str | bytes) -> int:
    assert isinstance(message, bytes)
    return int(message.partition(b" ")[0])


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("form", FORMS)
async def test_of_what_waits_for_a_slow_peer_the_oldest_is_dropped_and_its_handler_goes_on(
    form: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    app = FORMS[form].as_asgi(told=told)
    async with serving(app) as server, websocket(f"ws://{server.address}/", max_queue=1) as peer:
        await peer.send("200")
        await until(lambda: told == ["done"])
        got = [number_of(await peer.recv())]
        while got[-1] != 199:
            got.append(number_of(await peer.recv()))
    assert got == sorted(got)
    assert got[0] == 0
    assert len(got) < 200
    assert got[-5:] == [195, 196, 197, 198, 199]
    assert [line.partition(": ")[2] for line in warnings(caplog)] == [
        "its peer reads too slowly; of 5 messages that wait for it, the oldest are dropped"
    ]


async def test_a_slow_peer_can_be_closed_instead(caplog: pytest.LogCaptureFixture) -> None:
    class Closing(AsyncMany):
        slow_receiver = "close"

    told: list[Any] = []
    async with serving(Closing.as_asgi(told=told)) as server:
        async with websocket(f"ws://{server.address}/", max_queue=1) as peer:
            await peer.send("200")
            await until(lambda: bool(warnings(caplog)))
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await peer.recv()
        await idle(server)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "too slow")
    assert told == [1013]  # its handler has ended at its send
    assert [line.partition(": ")[2] for line in warnings(caplog)] == [
        "closed, because its peer reads too slowly; 5 messages that waited for it are dropped"
    ]


@pytest.mark.parametrize("form", FORMS)
async def test_a_peer_that_reads_gets_all_of_many_more_messages_than_may_wait(form: str) -> None:
    app = FORMS[form].as_asgi(told=[], size=b"")
    async with serving(app) as server, websocket(f"ws://{server.address}/") as peer:
        await peer.send("500")
        assert [number_of(await peer.recv()) for _ in range(500)] == list(range(500))


class Last(AsyncWebsocketConsumer):
    send_queue = 50

    def __init__(self, told: list[Any]) -> None:
        self.told = told

    async def receive(self, text: str) -> None:  # type: ignore[override]
        for number in range(50):
            await self.send(bytes=b"%d " % number + LARGE)
        if text == "stop":
            raise StopConsumer
        if text == "surrogate":
            await self.send("\ud800")
        await self.close(4000, "enough")
        await self.send("too late")

    async def disconnect(self, code: int) -> None:
        self.told.append(code)


@pytest.mark.parametrize(("how", "code"), [("close", 4000), ("stop", 1000)])
async def test_what_waits_is_sent_before_the_connection_is_closed(
    how: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Last.as_asgi(told=[])) as server:
        async with websocket(f"ws://{server.address}/", max_queue=1) as peer:
            await peer.send(how)
            got = []
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    got.append(number_of(await peer.recv()))
        await idle(server)
    assert got == list(range(50))
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    errors = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert errors == (["send: the connection is closed already"] if how == "close" else [])


async def test_text_that_cannot_be_sent_is_an_error_at_its_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Last.as_asgi(told=[])) as server, websocket(f"ws://{server.address}/") as peer:
        await peer.send("surrogate")
        with pytest.raises(ConnectionClosed):
            while True:
                await peer.recv()
    [error] = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert isinstance(error, UnicodeEncodeError)


async def test_a_message_before_the_connection_is_accepted_is_an_error_as_without_a_queue() -> None:
    class Early(AsyncWebsocketConsumer):
        send_queue = 5

        async def connect(self, message: Any) -> None:
            with pytest.raises(LocalProtocolError, match=r"^send: the connection is not accepted; call"):
                await self.send("hello")
            await self.accept()
            await self.send("accepted")

    async with serving(Early.as_asgi()) as server, websocket(f"ws://{server.address}/") as peer:
        assert await peer.recv() == "accepted"


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"send_queue": -1}, "Wrong.send_queue is -1; write a number of messages, or 0 for none"),
        ({"send_queue": "5"}, "Wrong.send_queue is '5'; write a number of messages, or 0 for none"),
        ({"slow_receiver": "drop"}, "Wrong.slow_receiver is 'drop'; write 'drop_oldest' or 'close'"),
        ({"groups": "all"}, "Wrong.groups is 'all'; write a list of names, such as [\"readings\"]"),
        ({"groups": [1]}, 'Wrong.groups is [1]; write a list of names, such as ["readings"]'),
        ({"groups": ["all"]}, "Wrong joins groups and has no @layer_event method for their messages"),
    ],
)
def test_a_class_with_a_wrong_attribute_is_reported_when_it_is_defined(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as error:
        type("Wrong", (AsyncWebsocketConsumer,), attributes)
    assert str(error.value) == said


async def test_a_class_names_the_groups_that_its_instances_join() -> None:
    class Page(AsyncWebsocketConsumer):
        groups = ["prices", "news"]

        @layer_event("told")
        async def on_told(self, message: Any) -> None:
            await self.send(message["text"])

    layer: ChannelLayer = InMemoryChannelLayer()
    with installed({channel_layer: layer}):
        async with serving(Page.as_asgi()) as server:
            async with websocket(f"ws://{server.address}/") as peer:
                for group in ("prices", "news"):
                    await layer.group_send(group, {"type": "told", "text": group})
                assert [await peer.recv(), await peer.recv()] == ["prices", "news"]
            await idle(server)
    assert not layer._groups  # type: ignore[attr-defined]
