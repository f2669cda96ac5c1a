"""What ``persistence: true`` costs: QoS 1 to 10 subscribers with kept sessions, each message on disk before its PUBACK.

Mosquitto, where it keeps anything, writes its memory out every half an hour and at its end.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import uvloop

from benchmarks.mqtt_apps import consumer
from benchmarks.side_by_side import Peer, client, compare, python
from gateway.scopes.persistence import StorePersistence
from gateway.store.sqlite import SQLiteStore
from protocols.mqtt import MQTTServer, MQTTSettings


async def serve(port: int) -> None:
    with tempfile.TemporaryDirectory(dir="build") as folder:  # on a real disk: fsync on a tmpfs costs nothing
        store = SQLiteStore(Path(folder) / "gateway.db")
        await store.open()
        async with MQTTServer(
            consumer, MQTTSettings(bind=f"127.0.0.1:{port}"), persistence=StorePersistence(store, "mqtt devices")
        ):
            await asyncio.get_running_loop().create_future()


PEERS = [
    Peer("persistent", lambda port: python("-m", "benchmarks.mqtt_persistent", "serve", str(port))),
    Peer("in memory", lambda port: python("-m", "benchmarks.mqtt_apps", "ours", str(port))),
    Peer("mosquitto", lambda port: ["mosquitto", "-p", str(port)]),
]


def load(port: int, seconds: float) -> float:
    return client("-m", "benchmarks.mqtt_fanout_load", "1", str(port), "10", "1000", str(seconds), "kept")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        Path("build").mkdir(exist_ok=True)
        uvloop.run(serve(int(sys.argv[2])))
    else:
        compare("MQTT QoS 1 to 10 subscribers with kept sessions, window 1000", PEERS, load, unit="deliveries/s")
