"""A project of Channels that changes its imports to ``gateway.compat.channels`` behaves as it did before.

Each scenario is run twice, with the classes of Channels and with ours, and has to print the same.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

NAMES = {
    "channels": """
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.db import database_sync_to_async
from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer, JsonWebsocketConsumer, WebsocketConsumer,
)
from channels.layers import get_channel_layer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
""",
    "gateway": """
from gateway.compat.channels import (
    AcceptConnection, AsyncConsumer, AsyncHttpConsumer, AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer,
    ChannelNameRouter, DenyConnection, JsonWebsocketConsumer, ProtocolTypeRouter, StopConsumer, SyncConsumer, URLRouter,
    WebsocketConsumer, database_sync_to_async, get_channel_layer,
)
""",
}

BEFORE = """
import asyncio
import threading

from django.conf import settings

settings.configure(CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})

from asgiref.sync import async_to_sync
from channels.testing import ApplicationCommunicator, HttpCommunicator, WebsocketCommunicator
from django.urls import path, re_path
"""

SCENARIOS = {
    "a chat in the sync form": """
class Chat(WebsocketConsumer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.greeting = kwargs.get("greeting", "")

    def connect(self):
        self.room = self.scope["url_route"]["kwargs"]["room"]
        async_to_sync(self.channel_layer.group_add)(self.room, self.channel_name)
        self.accept(subprotocol=(self.scope["subprotocols"] or [None])[0], headers=[(b"x-a", b"1")])
        self.send(self.greeting + self.room)

    def disconnect(self, code):
        print("disconnect", code, self.helper())
        async_to_sync(self.channel_layer.group_discard)(self.room, self.channel_name)

    def helper(self):
        return "helped"

    def receive(self, text_data=None, bytes_data=None):
        if bytes_data is not None:
            self.send(bytes_data=bytes_data)
        else:
            event = {"type": "chat.message", "text": text_data}
            async_to_sync(self.channel_layer.group_send)(self.room, event)

    def chat_message(self, event):
        self.send(text_data=event["text"], close=4001 if event["text"] == "bye" else False)


async def main():
    app = ProtocolTypeRouter({"websocket": URLRouter([path("chat/<slug:room>/", Chat.as_asgi(greeting="in "))])})
    peers = [WebsocketCommunicator(app, f"/chat/{room}/", subprotocols=["a", "b"]) for room in ("x", "x", "y")]
    for peer in peers:
        print(await peer.connect(), await peer.receive_from())
    await peers[0].send_to(text_data="hello")
    print([await peer.receive_from() for peer in peers[:2]], await peers[2].receive_nothing())
    await peers[0].send_to(bytes_data=b"bytes")
    print(await peers[0].receive_from())
    await peers[2].disconnect(code=4000)
    await get_channel_layer().group_send("x", {"type": "chat.message", "text": "bye"})
    for peer in peers[:2]:
        print(await peer.receive_from(), (await peer.receive_output())["code"])
        await peer.disconnect()
""",
    "a chat in the async form": """
class Chat(AsyncJsonWebsocketConsumer):
    groups = ["all"]

    async def connect(self):
        if self.scope["query_string"] == b"no":
            raise DenyConnection
        if self.scope["query_string"] == b"close":
            await self.close(4321)
            return
        raise AcceptConnection

    async def receive_json(self, content, **kwargs):
        if content == "stop":
            raise StopConsumer
        await self.channel_layer.group_send("all", {"type": "told", "content": content, "by": self.plain()})

    def plain(self):
        return "helper"

    async def told(self, event):
        await self.send_json([event["content"], event["by"]])

    async def disconnect(self, code):
        if code != 1011:  # the gateway calls it also if a handler has raised, or the run is cancelled
            print("disconnect", code)


async def main():
    app = Chat.as_asgi()
    print(app.consumer_class.__name__)
    for query in ("no", "close"):
        print(await WebsocketCommunicator(app, f"/?{query}").connect())
    peers = [WebsocketCommunicator(app, "/") for _ in range(2)]
    for peer in peers:
        print(await peer.connect())
    await peers[0].send_json_to({"a": 1})
    print([await peer.receive_json_from() for peer in peers])
    await peers[1].disconnect()
    await peers[0].send_json_to("stop")
    await peers[0].wait()
    print(await peers[0].receive_nothing())
    wrong = WebsocketCommunicator(app, "/")
    await wrong.connect()
    await wrong.send_to(bytes_data=b"x")
    try:
        await wrong.wait()
    except ValueError as error:
        print(error)
""",
    "requests": """
class Page(AsyncHttpConsumer):
    async def handle(self, body):
        if self.scope["path"] == "/stream/":
            await self.send_headers(headers={b"x-a": b"1"})
            await self.send_body(body, more_body=True)
            await self.send_body(b" end")
        else:
            await self.send_response(201, body.upper(), headers=[(b"Content-Type", b"text/plain")])

    async def disconnect(self):
        print("disconnect")


async def main():
    app = URLRouter([re_path(r"^stream/$", Page.as_asgi()), path("<int:number>/", Page.as_asgi())])
    for asked in ("/stream/", "/7/"):
        answer = await HttpCommunicator(app, "POST", asked, body=b"text").get_response()
        print(answer["status"], answer["body"], answer["headers"])
""",
    "raw consumers, and instances as applications": """
class Raw(AsyncConsumer):
    async def websocket_connect(self, message):
        await self.send({"type": "websocket.accept"})
        print(await self.on_thread() is threading.main_thread())

    @database_sync_to_async
    def on_thread(self):
        return threading.current_thread()

    async def websocket_receive(self, message):
        await self.channel_layer.send(self.channel_name, {"type": "to.self", "text": message["text"]})

    async def to_self(self, message):
        await self.send({"type": "websocket.send", "text": message["text"]})

    async def websocket_disconnect(self, message):
        print(message["code"])
        raise StopConsumer


class SyncRaw(SyncConsumer):
    def websocket_connect(self, message):
        self.send({"type": "websocket.accept"})

    def websocket_receive(self, message):
        self.send({"type": "websocket.send", "text": message["text"]})

    def websocket_disconnect(self, message):
        raise StopConsumer


async def main():
    for app in (Raw(), SyncRaw.as_asgi()):
        peer = WebsocketCommunicator(app, "/")
        await peer.connect()
        await peer.send_to(text_data="hello")
        print(await peer.receive_from())
        await peer.disconnect(code=4005)
""",
    "channel names": """
class Work(AsyncConsumer):
    async def work_start(self, message):
        await self.channel_layer.send("results", {"type": "work.done", "number": message["number"] + 1})


class SyncWork(SyncConsumer):
    def work_start(self, message):
        async_to_sync(self.channel_layer.send)("results", {"type": "work.done", "number": message["number"] + 2})


async def main():
    app = ProtocolTypeRouter({"channel": ChannelNameRouter({"one": Work.as_asgi(), "two": SyncWork.as_asgi()})})
    for name in ("one", "two"):
        peer = ApplicationCommunicator(app, {"type": "channel", "channel": name})
        await peer.send_input({"type": "work.start", "number": 1})
        print(await get_channel_layer().receive("results"))
        peer.stop(exceptions=False)
    try:
        await ChannelNameRouter({})({"type": "channel", "channel": "three"}, None, None)
    except ValueError as error:
        print(error)
""",
}


def run(names: str, scenario: str, folder: Path) -> str:
    (folder / "project.py").write_text(BEFORE + NAMES[names] + SCENARIOS[scenario] + "\n\nasyncio.run(main())\n")
    ran = subprocess.run(
        [sys.executable, "project.py"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_project_does_the_same_with_the_names_of_the_gateway(scenario: str, tmp_path: Path) -> None:
    said = run("channels", scenario, tmp_path)
    assert said.count("\n") >= 2
    assert run("gateway", scenario, tmp_path) == said
