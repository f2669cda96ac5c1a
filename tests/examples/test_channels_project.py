"""A project's asgi.py for Django Channels, unchanged, through ``application:``."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from servers.site import PATIENCE, ROOT, Site
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

SETTINGS = """
from pathlib import Path

BASE = Path(__file__).resolve().parent
SECRET_KEY = "only for this test"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["channels", "django.contrib.staticfiles"]
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE / "assets"]
ROOT_URLCONF = "mysite.urls"
ASGI_APPLICATION = "mysite.asgi.application"
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
USE_TZ = True
"""
URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [
    path("hello/<name>/", lambda request, name: HttpResponse(f"hello {name}")),
    path("crash/", lambda request: 1 / 0),
]
"""
CONSUMERS = """
import json

from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer


class ChatConsumer(WebsocketConsumer):
    def connect(self):
        self.group = "chat_%s" % self.scope["url_route"]["kwargs"]["room"]
        async_to_sync(self.channel_layer.group_add)(self.group, self.channel_name)
        self.accept()

    def disconnect(self, code):
        async_to_sync(self.channel_layer.group_discard)(self.group, self.channel_name)

    def receive(self, text_data):
        event = {"type": "chat.message", "text": text_data}
        async_to_sync(self.channel_layer.group_send)(self.group, event)

    def chat_message(self, event):
        self.send(text_data=json.dumps({"text": event["text"]}))


class EchoConsumer(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content):
        await self.send_json({"echo": content})
"""
ASGI = """
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django_asgi_app = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import re_path

from mysite.consumers import ChatConsumer, EchoConsumer

application = ProtocolTypeRouter({
    "http": django_asgi_app,
    "websocket": AllowedHostsOriginValidator(URLRouter([
        re_path(r"ws/chat/(?P<room>\\w+)/$", ChatConsumer.as_asgi()),
        re_path(r"ws/echo/$", EchoConsumer.as_asgi()),
    ])),
})
"""


class ChannelsProject(Site):
    file = "application: mysite.asgi:application\n"

    def example(self) -> str:
        project = self.folder / "mysite"
        project.mkdir()
        files = {"__init__": "", "settings": SETTINGS, "urls": URLS, "consumers": CONSUMERS, "asgi": ASGI}
        for name, text in files.items():
            (project / f"{name}.py").write_text(text)
        (project / "assets").mkdir()
        (project / "assets" / "page.css").write_text("p { margin: 0 }")
        web = "servers: {web: {protocol: http, bind: '127.0.0.1:8000'}}\n"
        return self.at_its_addresses(web + self.file)

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output()
        return self.accepts(self.http)


class WithViews(ChannelsProject):
    """As docs/django.md has it."""

    file = """
django: {settings: mysite.settings}
routes:
  http: django
  websocket: mysite.asgi:application
"""


@pytest.fixture
def with_views(tmp_path: Path) -> Iterator[ChannelsProject]:
    with closing(WithViews(tmp_path)) as site:
        site.start()
        yield site


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ChannelsProject]:
    with closing(ChannelsProject(tmp_path)) as site:
        site.start()
        yield site


def browser(project: ChannelsProject, path: str) -> ClientConnection:
    """With an Origin, which AllowedHostsOriginValidator asks for."""
    origin = Origin(f"http://127.0.0.1:{project.http}")
    return connect(f"ws://127.0.0.1:{project.http}{path}", origin=origin, open_timeout=PATIENCE)


def test_it_runs(project: ChannelsProject) -> None:
    assert httpx.get(project.url("/hello/ann/")).text == "hello ann"
    with browser(project, "/ws/chat/a/") as ann, browser(project, "/ws/chat/a/") as bob:
        ann.send("hi")
        assert [peer.recv(PATIENCE) for peer in (ann, bob)] == ['{"text": "hi"}'] * 2
    with browser(project, "/ws/echo/") as peer:
        peer.send('{"n": 1}')
        assert peer.recv(PATIENCE) == '{"echo": {"n": 1}}'
    assert "ERROR" not in project.output()
    assert "Traceback" not in project.output()


def test_a_crash_is_in_the_log_once(project: ChannelsProject) -> None:
    """Under DEBUG Django has a console of its own, which is there under runserver and daphne, too."""
    assert httpx.get(project.url("/crash/")).status_code == 500
    assert project.output().count("Internal Server Error: /crash/") == 1
    assert project.output().count("Traceback (most recent call last)") == 1


def test_views_by_django_and_websockets_by_channels(with_views: ChannelsProject) -> None:
    """Then static files are there, too, as under runserver."""
    assert httpx.get(with_views.url("/static/page.css")).text == "p { margin: 0 }"
    assert httpx.get(with_views.url("/hello/ann/")).text == "hello ann"
    with browser(with_views, "/ws/chat/a/") as ann:
        ann.send("hi")
        assert ann.recv(PATIENCE) == '{"text": "hi"}'
    assert "ERROR" not in with_views.output()
    assert "Traceback" not in with_views.output()


def test_the_page_says_so() -> None:
    assert WithViews.file.strip() in (ROOT / "docs" / "django.md").read_text()
