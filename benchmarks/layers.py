"""Channel layers: a reading over MQTT at a gateway, until WebSockets at another one have it; and ``group_send`` alone.

Both gateways are processes of their own with the same file. ``RATE`` readings a second come from one device at QoS 1;
the handler sends each to a group of ``PAGES`` WebSockets at the other gateway. The time is from before the device
publishes until the page has the text, so MQTT, the handler, the layer and the WebSocket are all in it. The readings of
a first half second warm up. The last column is the CPU time of both gateways for each reading. The last table is
``group_send`` from ``SENDERS`` tasks of one process to one channel of another layer object, for ours and for those of
``channels_redis``::

    python -m benchmarks.layers --quick
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from websockets.asyncio.client import connect

from gateway.layers.address import Redis, parse_layer
from gateway.layers.ipc import ipc_layer
from gateway.layers.redis.core import core_layer
from gateway.layers.redis.pubsub import pubsub_layer

RATE = 300
PAGES = 10
SENDERS = 50
CONFIG = """
layer: "LAYER"
servers:
  web: {protocol: http, bind: "127.0.0.1:${WEB}"}
  devices: {protocol: mqtt, bind: "127.0.0.1:${MQTT}", anonymous: true}
routes: {websocket: bench_handlers.Page, mqtt: bench_handlers.Device}
"""
HANDLERS = """
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from gateway import AsyncMqttConsumer, AsyncWebsocketConsumer, layer_event


class Device(AsyncMqttConsumer):
    async def receive(self, topic, payload):
        await self.group_send("live", {"type": "reading", "value": payload.decode()})


class Page(AsyncWebsocketConsumer):
    async def connect(self, message):
        await self.group_add("live")
        await self.accept()

    @layer_event("reading")
    async def on_reading(self, message):
        await self.send(message["value"])


def theirs_pubsub():
    return RedisPubSubChannelLayer(hosts=["unix://SOCKET"])


def theirs_core():
    return RedisChannelLayer(hosts=[{"address": "unix://SOCKET", "socket_timeout": 30}])
"""


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until something listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


@contextlib.contextmanager
def redis() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="layers", dir="/tmp") as folder:
        path = Path(folder) / "redis.sock"
        command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not path.exists():
                if process.poll() is not None:
                    raise RuntimeError(f"redis-server has ended with code {process.returncode}")
                time.sleep(0.02)
            yield path
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def gateways(layer: str, path: Path) -> Iterator[tuple[int, int, list[int]]]:
    """Yield the port for MQTT of one gateway, that for WebSocket of another one, and the process ids of both."""
    with tempfile.TemporaryDirectory(prefix="layers", dir="/tmp") as name:
        folder, ports, processes = Path(name), [], []
        (folder / "gateway.yaml").write_text(CONFIG.replace("LAYER", layer))
        (folder / "bench_handlers.py").write_text(HANDLERS.replace("SOCKET", str(path)))
        try:
            for _ in range(2):
                web, mqtt = free_port(), free_port()
                environ = {"WEB": str(web), "MQTT": str(mqtt), "PYTHONPATH": str(Path(__file__).parents[1])}
                command = [sys.executable, "-m", "gateway", "run"]
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                processes.append(subprocess.Popen(command, cwd=folder, env=environ, **quiet))
                wait_for(mqtt)
                ports.append((web, mqtt))
            yield ports[0][1], ports[1][0], [process.pid for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def cpu(processes: list[int]) -> float:
    """Seconds of CPU time that these processes have used."""
    fields = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in processes]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


async def latencies(mqtt: int, web: int, seconds: float, rate: int, processes: list[int]) -> tuple[list[float], float]:
    """Milliseconds, of each text at each page; and the CPU seconds of the gateways."""
    found: list[float] = []

    async def read(page: Any) -> None:
        while True:
            text = await page.recv()
            found.append((time.monotonic() - float(text)) * 1000)

    async with contextlib.AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(connect(f"ws://127.0.0.1:{web}/")) for _ in range(PAGES)]
        readers = [asyncio.ensure_future(read(page)) for page in pages]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(publish, mqtt, 0.5, rate)
        await asyncio.sleep(0.5)
        found.clear()
        before = cpu(processes)
        await asyncio.to_thread(publish, mqtt, seconds, rate)
        await asyncio.sleep(1.0)
        used = cpu(processes) - before
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return found, used


def publish(port: int, seconds: float, rate: int) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    begin = time.monotonic()
    for number in range(int(seconds * rate)):
        while (now := time.monotonic()) < begin + number / rate:
            time.sleep(0.0005)
        sent = client.publish("reading", str(now), 1)
    sent.wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


async def rate_of(sender: Any, receiver: Any, count: int) -> float:
    """``group_send`` a second, from many tasks, until all have arrived."""
    receiver.capacity = sender.capacity = count + 1
    channel = await receiver.new_channel()
    await receiver.group_add("g", channel)
    reading = asyncio.ensure_future(_read(receiver, channel, count))
    begin = time.monotonic()
    each = count // SENDERS

    async def send() -> None:
        for number in range(each):
            await sender.group_send("g", {"type": "x", "n": number})

    await asyncio.gather(*(send() for _ in range(SENDERS)))
    with contextlib.suppress(TimeoutError):  # what was dropped does not arrive
        async with asyncio.timeout(5):
            await reading
    return count / (time.monotonic() - begin)


async def _read(layer: Any, channel: str, count: int) -> None:
    for _ in range(count):
        await layer.receive(channel)


@contextlib.asynccontextmanager
async def pair(make: Callable[[], Any]) -> AsyncIterator[tuple[Any, Any]]:
    layers = make(), make()
    try:
        yield layers
    finally:
        for layer in layers:
            await (layer.close() if hasattr(type(layer), "close") else layer.flush())


async def rates(path: Path, count: int) -> None:
    from channels_redis.core import RedisChannelLayer
    from channels_redis.pubsub import RedisPubSubChannelLayer

    address = parse_layer(f"redis+unix://{path}?prefix=b{secrets.token_hex(3)}")
    core = parse_layer(f"redis+unix://{path}?layer=core&prefix=b{secrets.token_hex(3)}")
    assert isinstance(address, Redis)
    assert isinstance(core, Redis)
    made: dict[str, tuple[Callable[[], Any], int]] = {
        "ipc": (lambda: ipc_layer(path.with_name("layer.sock")), count),
        "redis, pubsub": (lambda: pubsub_layer(address), count),
        "channels_redis, pubsub": (lambda: RedisPubSubChannelLayer(hosts=[f"unix://{path}"]), count // 10),
        "redis, core": (lambda: core_layer(core), count // 2),
        "channels_redis, core": (lambda: RedisChannelLayer(hosts=[f"unix://{path}"]), count // 20),
    }
    for name, (make, number) in made.items():
        async with pair(make) as (one, two):
            print(f"{name:24} {await rate_of(one, two, number):10,.0f} group_send/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three seconds for each layer in place of twenty")
    parser.add_argument("--rate", type=int, default=RATE, help="readings a second")
    options = parser.parse_args()
    seconds = 3.0 if options.quick else 20.0
    with redis() as path:
        layers = {
            "ipc": "ipc",
            "redis, pubsub": f"redis+unix://{path}?prefix=m1",
            "redis, core": f"redis+unix://{path}?prefix=m2&layer=core",
            "channels_redis, pubsub": "bench_handlers.theirs_pubsub",
            "channels_redis, core": "bench_handlers.theirs_core",
        }
        print(f"{options.rate} readings a second to {PAGES} pages at another gateway")
        print(f"{'':24} {'p50 ms':>8} {'p99 ms':>8} {'most ms':>8} {'arrived':>8} {'CPU ms':>8}")
        for name, layer in layers.items():
            with gateways(layer, path) as (mqtt, web, processes):
                found, used = asyncio.run(latencies(mqtt, web, seconds, options.rate, processes))
            cuts = statistics.quantiles(found, n=100)
            count = int(seconds * options.rate)
            figures = f"{cuts[49]:8.2f} {cuts[98]:8.2f} {max(found):8.2f} {len(found) / (count * PAGES):8.1%}"
            print(f"{name:24} {figures} {used / count * 1000:8.2f}", flush=True)
        asyncio.run(rates(path, 2_000 if options.quick else 20_000))


if __name__ == "__main__":
    main()
