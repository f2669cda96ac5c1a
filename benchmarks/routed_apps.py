"""The applications of row 2: a consumer, and a Django view, behind the same routes of our routers and of Channels'.

``python -m benchmarks.routed_apps consumer|view PORT`` runs the daemon on a gateway.yaml; uvicorn and daphne import
what they serve by name.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import django
from channels.generic.http import AsyncHttpConsumer as ChannelsConsumer
from channels.routing import ProtocolTypeRouter as ChannelsRouter
from channels.routing import URLRouter as ChannelsURLRouter
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path

from gateway import AsyncHttpConsumer, ProtocolTypeRouter, URLRouter, url
from gateway.django import application

BODY = b"Hello, world!"

if not settings.configured:
    length = "django.middleware.common.CommonMiddleware"  # Content-Length, of which the load client makes use
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=[length])
    django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402 -- after the set-up

CONFIG = """
log: {{level: warning}}
servers: {{web: {{protocol: http, bind: "127.0.0.1:{port}"}}}}
routes:
  http:
    - {{path: "^longpoll/$", app: benchmarks.routed_apps.Hello}}
    - {{path: "^", app: benchmarks.routed_apps.{target}}}
"""


class Hello(AsyncHttpConsumer):
    async def handle(self, body: bytes) -> None:
        await self.respond(BODY, headers=[(b"content-type", b"text/plain")])


class ChannelsHello(ChannelsConsumer):
    async def handle(self, body: bytes) -> None:
        await self.send_response(200, BODY, headers=[(b"content-type", b"text/plain"), (b"content-length", b"13")])


async def hello(request: HttpRequest) -> HttpResponse:
    """An async view: a sync one is a thread's hop on every server, and measures that alone."""
    return HttpResponse(BODY, content_type="text/plain")


urlpatterns = [path("", hello)]
views: Any = get_asgi_application()
django_target = application()
"""What the target ``django`` is in a gateway.yaml."""


def ours(target: Any) -> ProtocolTypeRouter:
    return ProtocolTypeRouter({"http": URLRouter([url("^longpoll/$", Hello), url("^", target)])})


def theirs(target: Any) -> Any:
    routes = [re_path("^longpoll/$", ChannelsHello.as_asgi()), re_path("^", target)]
    return ChannelsRouter({"http": ChannelsURLRouter(routes)})


consumer, view = ours(Hello), ours(views)
channels_consumer, channels_view = theirs(ChannelsHello.as_asgi()), theirs(views)


def serve(target: str, port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "gateway.yaml"
        file.write_text(CONFIG.format(port=port, target=target))
        os.execv(sys.executable, [sys.executable, "-m", "gateway", "-c", str(file), "run"])


if __name__ == "__main__":
    serve({"consumer": "Hello", "view": "django_target"}[sys.argv[1]], int(sys.argv[2]))
