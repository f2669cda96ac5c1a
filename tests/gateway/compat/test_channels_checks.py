"""What Channels' own tests check of its routers and consumers, with its names and with ours."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import channels.consumer
import channels.exceptions
import channels.generic.http
import channels.generic.websocket
import channels.layers
import channels.routing
import pytest
from channels.testing import ApplicationCommunicator, HttpCommunicator, WebsocketCommunicator

import gateway.compat.channels

_MODULES = (
    channels.consumer,
    channels.exceptions,
    channels.generic.http,
    channels.generic.websocket,
    channels.layers,
    channels.routing,
)
THEIRS = SimpleNamespace(**{name: value for module in _MODULES for name, value in vars(module).items()})
OURS = gateway.compat.channels


@pytest.fixture(autouse=True)
def django_settings() -> Iterator[None]:
    """Django's defaults, and a layer for Channels, for these tests alone."""
    from django.conf import settings  # as a name of the module, the plugin of hypothesis would look into it

    before: Any = settings._wrapped
    if not settings.configured:
        settings.configure()
    layer = channels.layers.InMemoryChannelLayer()
    previous = channels.layers.channel_layers.set(channels.layers.DEFAULT_CHANNEL_LAYER, layer)
    yield
    channels.layers.channel_layers.backends.pop(channels.layers.DEFAULT_CHANNEL_LAYER)
    if previous is not None:
        channels.layers.channel_layers.set(channels.layers.DEFAULT_CHANNEL_LAYER, previous)
    settings._wrapped = before


@pytest.fixture(params=[THEIRS, OURS], ids=["channels", "gateway"])
def names(request: pytest.FixtureRequest) -> Any:
    return request.param


def number(value: int) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> Any:
        route = scope.get("url_route", {})
        return value, tuple(route.get("args", ())), route.get("kwargs", {})

    return application


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("/", (1, (), {})),
        ("/foo/", (2, (), {})),
        ("/bar/12/", (3, ("12",), {})),
        ("/named/12/", (4, (), {"id": "12"})),
        ("/typed/12/", (5, (), {"id": 12})),
        ("/default/", (6, (), {"default": 42})),
        ("/universe/42/home/", (7, (), {"universe": 42})),
        ("/universe/42/book/page/7/", (8, (), {"universe": 42, "page": "7"})),
        ("/universe/42/elsewhere/", (9, (), {"rest": "elsewhere"})),
    ],
)
async def test_url_router(names: Any, asked: str, found: Any) -> None:
    from django.urls import path, re_path

    book = names.URLRouter([re_path(r"^page/(?P<page>\d+)/$", number(8))])
    universe = names.URLRouter([path("home/", number(7)), path("book/", book)])
    router = names.URLRouter(
        [
            re_path(r"^$", number(1)),
            path("foo/", number(2)),
            re_path(r"^bar/(\d+)/$", number(3)),
            re_path(r"^named/(?P<id>\d+)/$", number(4)),
            path("typed/<int:id>/", number(5)),
            path("default/", number(6), {"default": 42}),
            path("universe/<int:universe>/", universe),
            path("universe/42/<slug:rest>/", number(9)),
        ]
    )
    for root in ("", "/root"):
        scope = {"type": "http", "path": root + asked, "root_path": root}
        assert await router(scope, None, None) == found


async def test_protocol_type_router(names: Any) -> None:
    router = names.ProtocolTypeRouter({"websocket": number(1), "http": number(2), "channel": number(3)})
    for value, kind in enumerate(("websocket", "http", "channel"), 1):
        assert (await router({"type": kind, "path": "/"}, None, None))[0] == value
    with pytest.raises(ValueError, match="No application configured for scope type 'aprs'"):
        await router({"type": "aprs"}, None, None)


async def test_channel_name_router(names: Any) -> None:
    router = names.ChannelNameRouter({"a": number(1), "b": number(2)})
    assert (await router({"type": "channel", "channel": "b"}, None, None))[0] == 2
    with pytest.raises(ValueError, match="No application configured for channel name 'c'"):
        await router({"type": "channel", "channel": "c"}, None, None)


def recording(names: Any, form: str, heard: list[Any]) -> Any:
    """A WebSocket consumer of ``form``, which notes its calls."""
    if form == "sync":

        class Sync(names.WebsocketConsumer):
            def connect(self) -> None:
                heard.append("connect")
                self.accept("b", headers=[(b"x-a", b"1")])

            def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
                heard.append((text_data, bytes_data))
                if text_data == "close":
                    self.close(4007, "over")
                else:
                    self.send(text_data=text_data, bytes_data=bytes_data)

            def disconnect(self, code: int) -> None:
                heard.append(code)

        return Sync

    class Async(names.AsyncWebsocketConsumer):
        async def connect(self) -> None:
            heard.append("connect")
            await self.accept("b", headers=[(b"x-a", b"1")])

        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            heard.append((text_data, bytes_data))
            if text_data == "close":
                await self.close(4007, "over")
            else:
                await self.send(text_data=text_data, bytes_data=bytes_data)

        async def disconnect(self, code: int) -> None:
            heard.append(code)

    return Async


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_websocket_consumer(names: Any, form: str) -> None:
    heard: list[Any] = []
    peer = WebsocketCommunicator(recording(names, form, heard).as_asgi(), "/", subprotocols=["a", "b"])
    await peer.send_input({"type": "websocket.connect"})
    accepted = await peer.receive_output()
    assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", "b")
    assert [tuple(field) for field in accepted["headers"]] == [(b"x-a", b"1")]
    await peer.send_to(text_data="hello")
    assert await peer.receive_from() == "hello"
    await peer.send_to(bytes_data=b"w\0rld")
    assert await peer.receive_from() == b"w\0rld"
    await peer.send_input({"type": "websocket.receive", "text": None, "bytes": b"x"})
    assert await peer.receive_from() == b"x"
    await peer.send_to(text_data="close")
    assert await peer.receive_output() == {"type": "websocket.close", "code": 4007, "reason": "over"}
    await peer.disconnect(code=4007)
    assert heard == ["connect", ("hello", None), (None, b"w\0rld"), (None, b"x"), ("close", None), 4007]


async def test_each_scope_has_an_instance_of_its_own(names: Any) -> None:
    class Counting(names.AsyncWebsocketConsumer):
        def __init__(self, first: int) -> None:
            super().__init__()
            self.count = first

        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            self.count += 1
            await self.send(str(self.count))

    app = Counting.as_asgi(first=10)
    assert app.consumer_class is Counting
    assert app.consumer_initkwargs == {"first": 10}
    for _ in range(2):
        peer = WebsocketCommunicator(app, "/")
        assert await peer.connect() == (True, None)
        for expected in ("11", "12"):
            await peer.send_to(text_data="more")
            assert await peer.receive_from() == expected
        await peer.disconnect()


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_json_consumer_encodes_and_decodes_in_its_own_way(names: Any, form: str) -> None:
    if form == "sync":

        class Sync(names.JsonWebsocketConsumer):
            def receive_json(self, content: Any) -> None:
                self.send_json([*content, "sync"])

            @classmethod
            def decode_json(cls, text_data: str) -> Any:
                return text_data.split(",")

            @classmethod
            def encode_json(cls, content: Any) -> str:
                return ";".join(content)

        app = Sync.as_asgi()
    else:

        class Async(names.AsyncJsonWebsocketConsumer):
            async def receive_json(self, content: Any) -> None:
                await self.send_json([*content, "async"])

            @classmethod
            async def decode_json(cls, text_data: str) -> Any:
                return text_data.split(",")

            @classmethod
            async def encode_json(cls, content: Any) -> str:
                return ";".join(content)

        app = Async.as_asgi()
    peer = WebsocketCommunicator(app, "/")
    await peer.connect()
    await peer.send_to(text_data="a,b")
    assert await peer.receive_from() == f"a;b;{form}"
    await peer.disconnect()


async def test_groups_of_the_class_and_of_the_instance(names: Any) -> None:
    class Member(names.AsyncWebsocketConsumer):
        groups = ["everybody", "others"]

        async def connect(self) -> None:
            await self.channel_layer.group_add(f"own.{self.scope['path'][1:]}", self.channel_name)
            await self.accept()

        async def chat_message(self, event: Any) -> None:
            await self.send(event["text"])

    peers = [WebsocketCommunicator(Member.as_asgi(), path) for path in ("/a", "/b")]
    for peer in peers:
        await peer.connect()
    layer = names.get_channel_layer()
    for group, heard in (("everybody", peers), ("others", peers), ("own.a", peers[:1])):
        await layer.group_send(group, {"type": "chat.message", "text": group})
        for peer in heard:
            assert await peer.receive_from() == group
    assert await peers[1].receive_nothing()
    for peer in peers:
        await peer.disconnect()


@pytest.mark.parametrize("raised", ["AcceptConnection", "DenyConnection"])
async def test_a_sync_consumer_answers_by_raising(names: Any, raised: str) -> None:
    class Raising(names.WebsocketConsumer):
        def connect(self) -> None:
            raise getattr(names, raised)

    peer = WebsocketCommunicator(Raising.as_asgi(), "/")
    assert (await peer.connect())[0] is (raised == "AcceptConnection")
    await peer.disconnect()


async def test_what_a_handler_raises_comes_out(names: Any) -> None:
    class Wrong(names.AsyncWebsocketConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            raise LookupError("a mistake of the project")

    peer = WebsocketCommunicator(Wrong.as_asgi(), "/")
    await peer.connect()
    await peer.send_to(text_data="hello")
    with pytest.raises(LookupError, match="a mistake of the project"):
        await peer.wait()


async def test_http_consumer_gets_the_whole_body_once(names: Any) -> None:
    heard: list[Any] = []

    class Page(names.AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            heard.append(body)
            await self.send_headers(status=201, headers=[(b"x-a", b"1")])
            await self.send_body(b"one ", more_body=True)
            await self.send_body(b"two")

        async def disconnect(self) -> None:
            heard.append("disconnect")

    peer = ApplicationCommunicator(Page.as_asgi(), HttpCommunicator(Page.as_asgi(), "POST", "/").scope)
    for part, more in ((b"a", True), (b"b", True), (b"c", False)):
        assert heard == []
        await peer.send_input({"type": "http.request", "body": part, "more_body": more})
    events = [await peer.receive_output() for _ in range(3)]
    await peer.wait()
    assert (events[0]["status"], [tuple(field) for field in events[0]["headers"]]) == (201, [(b"x-a", b"1")])
    assert [(event["body"], event["more_body"]) for event in events[1:]] == [(b"one ", True), (b"two", False)]
    assert heard == [b"abc", "disconnect"]


async def test_http_consumer_that_raises_is_disconnected(names: Any) -> None:
    heard: list[str] = []

    class Wrong(names.AsyncHttpConsumer):
        async def handle(self, body: bytes) -> None:
            raise LookupError("a mistake of the project")

        async def disconnect(self) -> None:
            heard.append("disconnect")

    with pytest.raises(LookupError, match="a mistake of the project"):
        await HttpCommunicator(Wrong.as_asgi(), "GET", "/").get_response()
    assert heard == ["disconnect"]
