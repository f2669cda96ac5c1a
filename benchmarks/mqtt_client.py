"""QoS 1 from 10 devices through Mosquitto to an async consumer, acknowledged after it: our client, and gmqtt alone.

Ours has a scope, a run of the application and backpressure, which gmqtt alone has not. Mosquitto and the consumer share
a core. What counts is what the consumer has handled; never more than :data:`WINDOW` are under way.
"""

import contextlib
import select
import socket
import time

from benchmarks.mqtt_client_apps import DONE, RECEIPT, SAID
from benchmarks.mqtt_load import Device, devices, packet, string
from benchmarks.side_by_side import Peer, compare, python

DEVICES = 10
WINDOW = 2_000
PATIENCE = 30.0

PEERS = [
    Peer("mosquitto+ours", lambda port: python("-m", "benchmarks.mqtt_client_apps", "ours", str(port))),
    Peer("mosquitto+gmqtt", lambda port: python("-m", "benchmarks.mqtt_client_apps", "gmqtt", str(port))),
]


class Receipts:
    """Hears what the consumer has done."""

    size = len(packet(0x30, string(DONE.encode()) + SAID))

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(PATIENCE)
        self.socket.sendall(packet(0x10, string(b"MQTT") + b"\4\2\0\0" + string(b"receipts")))
        assert self.socket.recv(4) == b"\x20\2\0\0"
        self.socket.sendall(packet(0x82, b"\0\1" + string(DONE.encode()) + b"\0"))
        assert self.socket.recv(5) == b"\x90\3\0\1\0"
        self._heard = 0

    def wait(self, seconds: float = PATIENCE) -> None:
        """For one more, at least."""
        if select.select([self.socket], [], [], seconds)[0]:
            data = self.socket.recv(65536)
            if not data:
                raise SystemExit("mosquitto closed a connection")
            self._heard += len(data)
        elif seconds == PATIENCE:
            raise SystemExit("nothing was handled any more")

    @property
    def handled(self) -> int:
        return self._heard // self.size * RECEIPT


def load(port: int, seconds: float) -> float:
    """Messages handled per second."""
    receipts, each = Receipts(port), list(devices(port, DEVICES, 0))
    try:
        sent = begin(receipts, each)
        before, start = receipts.handled, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            sent += publish(each)
            while sent - receipts.handled > WINDOW:
                receipts.wait()
        done = receipts.handled - before
        settle(receipts, sent)
    finally:
        for connection in (receipts.socket, *(device.socket for device in each)):
            connection.close()
    return done / elapsed


def begin(receipts: Receipts, each: list[Device]) -> int:
    """Publish until somebody listens; how many of these are handled, or will be."""
    for _ in range(int(PATIENCE / 0.2)):
        publish(each)
        receipts.wait(0.2)
        if receipts.handled:
            break
    time.sleep(0.2)
    receipts.wait(0.0)
    return receipts.handled


def publish(each: list[Device]) -> int:
    """A few from each device; how many."""
    count = RECEIPT // len(each)
    for device in each:
        with contextlib.suppress(BlockingIOError):
            device.receipts()
        while not device.flush():
            time.sleep(0)
        device.send(count)
    return count * len(each)


def settle(receipts: Receipts, sent: int) -> None:
    """What is under way is handled, so that the next round begins with nothing."""
    deadline = time.monotonic() + PATIENCE
    while receipts.handled + RECEIPT <= sent:
        if time.monotonic() > deadline:
            raise SystemExit(f"{sent - receipts.handled} messages were lost")
        receipts.wait(1.0)


if __name__ == "__main__":
    compare("MQTT QoS 1 through Mosquitto to a consumer, 10 devices", PEERS, load, unit="messages/s")
