"""Django: streams, static files by WhiteNoise, consumers by Channels."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="only for this test",
    DEBUG=False,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["channels"],
    MIDDLEWARE=["whitenoise.middleware.WhiteNoiseMiddleware", "django.middleware.gzip.GZipMiddleware"],
    STATIC_URL="/django/static/",
    STATIC_ROOT=os.environ["FILES"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    USE_TZ=True,
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from zoo.marks import mark


async def ticks() -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"tick\n" * 10
            await asyncio.sleep(0.01)
    finally:
        mark("django finally")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(ticks(), headers={"content-encoding": "identity"})


def few(request: HttpRequest) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        yield b"a" * 300
        yield b"b" * 300

    return StreamingHttpResponse(parts())


async def slow(request: HttpRequest) -> HttpResponse:
    try:
        await asyncio.sleep(0.2)
        mark("django slow answered")
        return HttpResponse("slow")
    except asyncio.CancelledError:
        mark("django slow cancelled")
        raise


def slow_sync(request: HttpRequest) -> HttpResponse:
    time.sleep(0.2)
    mark("django sync answered")
    return HttpResponse("slow")


def upload(request: HttpRequest) -> HttpResponse:
    mark(f"django upload of {len(request.body)}")
    return HttpResponse(str(len(request.body)))


def download(request: HttpRequest) -> FileResponse:
    return FileResponse(open(os.path.join(os.environ["FILES"], "page.html"), "rb"))


urlpatterns = [
    path("django/stream", stream),
    path("django/few", few),
    path("django/slow", slow),
    path("django/slow-sync", slow_sync),
    path("django/upload", upload),
    path("django/file", download),
    path("django/hello/<name>", lambda request, name: HttpResponse(f"hello {name}")),
]


class Chat(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add("chat", self.channel_name)
        await self.accept()

    async def receive(self, text_data: str = "", bytes_data: Any = None) -> None:
        if text_data == "slow":
            await asyncio.sleep(0.2)
        await self.channel_layer.group_send("chat", {"type": "said", "text": text_data})
        await self.send("sent")

    async def said(self, event: Any) -> None:
        await self.send(f"said {event['text']}")

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("chat", self.channel_name)
        mark("chat disconnect")


class SyncChat(WebsocketConsumer):
    def receive(self, text_data: str = "", bytes_data: Any = None) -> None:
        if text_data == "slow":
            time.sleep(0.2)
        self.send("sent")

    def disconnect(self, code: int) -> None:
        mark("sync chat disconnect")


application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("django/chat", Chat.as_asgi()), path("django/sync-chat", SyncChat.as_asgi())]),
    }
)
