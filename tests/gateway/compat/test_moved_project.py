"""A Channels project with sessions, a router, middleware of its own and a worker: as it is, and with other imports."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.daemon import Daemon
from servers.ports import free_port
from servers.redis import redis_process
from servers.site import PATIENCE, ROOT, until
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

SETTINGS = """
SECRET_KEY = "only for this test"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["daphne", "channels", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
ROOT_URLCONF = "talk.urls"
ASGI_APPLICATION = "talk.asgi.application"
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": ["REDIS"]}},
}
"""
URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("hello/", lambda request: HttpResponse("hello"))]
"""
CONSUMERS = """
import json

from asgiref.sync import async_to_sync
from channels.consumer import SyncConsumer
from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer


class Room(AsyncJsonWebsocketConsumer):
    async def connect(self):
        self.room = self.scope["url_route"]["kwargs"]["room"]
        if not self.scope["name"]:
            raise DenyConnection("who are you?")
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()
        await self.tell(f"{self.scope['name']} is here, {self.scope['user']}")

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.room, self.channel_name)
        if self.scope["name"]:
            await self.tell(f"{self.scope['name']} has left")

    async def receive_json(self, content):
        if "count" in content:
            asked = {"type": "words.count", "text": content["count"], "room": self.room}
            await self.channel_layer.send("words", asked)
        else:
            await self.tell(content["text"])

    async def tell(self, text):
        await self.channel_layer.group_send(self.room, {"type": "room.text", "text": text})

    async def room_text(self, event):
        await self.send_json({"text": event["text"]})


class Echo(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data, close=text_data == "bye")


class Words(SyncConsumer):
    def words_count(self, message):
        number = len(message["text"].split())
        if not number:
            raise ValueError("there are no words")
        event = {"type": "room.text", "text": f"{number} words"}
        async_to_sync(self.channel_layer.group_send)(message["room"], event)
"""
ROUTING = """
from urllib.parse import parse_qs

from channels.routing import URLRouter
from django.urls import path, re_path

from talk.consumers import Echo, Room


class Named:
    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        [name] = parse_qs(scope["query_string"].decode()).get("name", [""])
        return await self.inner({**scope, "name": name}, receive, send)


rooms = URLRouter([path("<slug:room>/", Room.as_asgi())])
sockets = Named(URLRouter([path("rooms/", rooms), re_path(r"^echo/$", Echo.as_asgi())]))
"""
ASGI = """
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "talk.settings")
views = get_asgi_application()

from channels.auth import AuthMiddlewareStack
from channels.routing import ChannelNameRouter, ProtocolTypeRouter
from channels.security.websocket import AllowedHostsOriginValidator

from talk.consumers import Words
from talk.routing import sockets

pages = {"http": views, "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(sockets))}
work = {"channel": ChannelNameRouter({"words": Words.as_asgi()})}

web = ProtocolTypeRouter(pages)
worker = ProtocolTypeRouter(work)
application = ProtocolTypeRouter(pages | work)
"""
FILES = {"__init__": "", "settings": SETTINGS, "urls": URLS, "consumers": CONSUMERS, "routing": ROUTING, "asgi": ASGI}
MOVED = re.compile(r"from channels\.(consumer|db|exceptions|generic\.\w+|layers|routing|worker) import")
"""The lines that change. ``channels.auth`` and ``channels.security`` stay."""


OWN_LAYER = 'CHANNEL_LAYERS = {"default": {"BACKEND": "gateway.layers.installed.GatewayChannelLayer"}}\n'
"""For what stays of Channels: its middleware refuses a page with a consumer, which has a channel."""


class Talk:
    """The project, served by gateways with one layer: one of Redis."""

    def __init__(self, folder: Path, redis: str) -> None:
        self.folder = folder
        self.layer = ""
        self.port = free_port()
        self._redis = redis
        self._open = contextlib.ExitStack()
        self.daemons: list[Daemon] = []
        (folder / "talk").mkdir()
        for name, text in FILES.items():
            (folder / "talk" / f"{name}.py").write_text(text.replace("REDIS", f"unix://{redis}"))

    def move(self, form: str = "pubsub") -> None:
        """Change the imports, and let the gateways have the layer."""
        self.layer = f"layer: redis+unix://{self._redis}?layer={form}&prefix={form}\n"
        for name in ("consumers", "routing", "asgi"):
            file = self.folder / "talk" / f"{name}.py"
            file.write_text(MOVED.sub("from gateway.compat.channels import", file.read_text()))
        with (self.folder / "talk" / "settings.py").open("a") as settings:
            settings.write(OWN_LAYER)

    def gateway(self, rest: str, servers: str = "servers: {web: {protocol: http, bind: '127.0.0.1:PORT'}}") -> Daemon:
        file = f"gateway{len(self.daemons)}.yaml"
        (self.folder / file).write_text(f"{self.layer}{servers.replace('PORT', str(self.port))}\n{rest}")
        daemon = Daemon(self.folder, file)
        self._open.callback(daemon.close)
        self.daemons.append(daemon)
        daemon.says("ready" if servers != "servers: {}" else "worker of the channels words")
        return daemon

    def runworker(self) -> None:
        """Channels' own worker."""
        command = [sys.executable, "-m", "django", "runworker", "words"]
        environment = {"PYTHONPATH": f"{self.folder}:{ROOT}", "DJANGO_SETTINGS_MODULE": "talk.settings", "PATH": ""}
        log = (self.folder / "worker.log").open("w")
        process = subprocess.Popen(command, env=environment, cwd=self.folder, stderr=log)
        self._open.callback(lambda: (process.kill(), process.wait(), log.close()))

    def dial(self, path: str, host: str = "127.0.0.1") -> ClientConnection:
        origin = Origin(f"http://{host}:{self.port}")
        return connect(f"ws://127.0.0.1:{self.port}{path}", origin=origin, open_timeout=PATIENCE)

    @property
    def output(self) -> str:
        return "\n".join(daemon.text for daemon in self.daemons)

    def close(self) -> None:
        self._open.close()


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with redis_process() as server:
        yield str(server.path)


@pytest.fixture
def talk(tmp_path: Path, redis: str) -> Iterator[Talk]:
    with contextlib.closing(Talk(tmp_path, redis)) as made:
        yield made


def as_it_was(talk: Talk) -> None:
    talk.gateway("application: talk.asgi:web\n")
    talk.runworker()


def moved(talk: Talk) -> None:
    talk.move()
    talk.gateway("application: talk.asgi:application\n")


def moved_beside_django(talk: Talk) -> None:
    talk.move()
    talk.gateway("django: {settings: talk.settings}\nroutes: {http: django, websocket: 'talk.asgi:application'}\n")


def moved_with_workers_of_their_own(talk: Talk) -> None:
    """Redis keeps a channel for all of its readers only with ``layer=core``."""
    talk.move("core")
    talk.gateway("application: talk.asgi:web\n")
    talk.gateway("application: talk.asgi:worker\n", "servers: {}")
    talk.gateway("application: talk.asgi:worker\n", "servers: {}")


def texts(*peers: ClientConnection) -> list[Any]:
    return [json.loads(peer.recv(PATIENCE))["text"] for peer in peers]


def counts(talk: Talk, peer: ClientConnection, number: int) -> None:
    """Ask the worker until it answers: it may not be there yet, and Channels' own loses what comes after an error."""

    def has_answered() -> bool:
        peer.send(json.dumps({"count": "word " * number}))
        with contextlib.suppress(TimeoutError):
            return bool(json.loads(peer.recv(0.5))["text"] == f"{number} words")
        return False

    until(has_answered, lambda: f"the worker answers: {talk.output}")


@pytest.mark.parametrize("start", [as_it_was, moved, moved_beside_django, moved_with_workers_of_their_own])
def test_a_project_moves_by_changing_its_imports(talk: Talk, start: Any) -> None:
    start(talk)
    for path, host in (("/rooms/red/", "127.0.0.1"), ("/rooms/red/?name=ann", "elsewhere.example")):
        with pytest.raises(InvalidStatus) as refused:
            talk.dial(path, host)
        assert refused.value.response.status_code == 403
    with talk.dial("/rooms/red/?name=ann") as ann:
        assert texts(ann) == ["ann is here, AnonymousUser"]
        with talk.dial("/rooms/red/?name=bob") as bob, talk.dial("/rooms/blue/?name=cid") as cid:
            assert texts(ann, bob) == ["bob is here, AnonymousUser"] * 2
            assert texts(cid) == ["cid is here, AnonymousUser"]
            ann.send('{"text": "hi"}')
            assert texts(ann, bob) == ["hi", "hi"]
            counts(talk, cid, 3)
            cid.send('{"count": ""}')  # its handler raises
            counts(talk, cid, 2)
            bob.close(4321)
            assert texts(ann) == ["bob has left"]
    with talk.dial("/echo/") as echo:
        for text in ("hello", "bye"):
            echo.send(text)
            assert echo.recv(PATIENCE) == text
        with pytest.raises(ConnectionClosedOK):
            echo.recv(PATIENCE)
    for daemon in talk.daemons:
        daemon.process.terminate()
        assert daemon.wait() == 0
    if start is not as_it_was:
        assert talk.output.count("ERROR") == talk.output.count("ValueError there are no words") == 1, talk.output
