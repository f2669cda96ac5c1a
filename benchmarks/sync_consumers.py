"""Row 12: sync WebSocket consumers on 100 connections at once, each of which blocks 10 ms for every message.

Ours run on the pool (32 threads unless the file says otherwise), Channels' all on one thread; both behind the same
uvicorn, so that the consumers are what is measured.
"""

import time
from typing import Any

from channels.generic.websocket import WebsocketConsumer as ChannelsWebsocketConsumer
from django.conf import settings

from benchmarks.side_by_side import Peer, client, compare, python
from gateway import ProtocolTypeRouter, WebsocketConsumer

if not settings.configured:  # Channels asks for them
    settings.configure()

BLOCKS = 0.01
CONNECTIONS = 100
UVICORN = ("-m", "uvicorn", "--loop=uvloop", "--no-access-log", "--log-level=warning", "--lifespan=off")


class Blocking(WebsocketConsumer):
    def receive(self, text: str | None, bytes: bytes | None = None) -> None:
        time.sleep(BLOCKS)
        self.send(text=text)


class ChannelsBlocking(ChannelsWebsocketConsumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        time.sleep(BLOCKS)
        self.send(text_data=text_data)


ours: Any = ProtocolTypeRouter({"websocket": Blocking})
channels: Any = ChannelsBlocking.as_asgi()


def peer(name: str, app: str) -> Peer:
    uvicorn = (*UVICORN, "--ws=websockets-sansio")
    return Peer(name, lambda port: python(*uvicorn, f"--port={port}", f"benchmarks.sync_consumers:{app}"))


def load(port: int, seconds: float) -> float:
    """Long enough for one thread to have answered every connection."""
    longest = max(seconds, 2.5 * CONNECTIONS * BLOCKS)
    return client("-m", "benchmarks.windowed", "websocket", str(port), str(CONNECTIONS), "1", str(longest))


if __name__ == "__main__":
    peers = [peer("ours", "ours"), peer("Channels 4 SyncConsumer", "channels")]
    compare("Sync consumers, 100 at once, each blocking 10 ms", peers, load, unit="messages/s")
