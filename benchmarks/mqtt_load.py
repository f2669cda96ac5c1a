"""The MQTT load: raw sockets, packets encoded beforehand. Prints what was done per second.

    python -m benchmarks.mqtt_load qos1 PORT DEVICES WINDOW SECONDS
    python -m benchmarks.mqtt_load qos0 PORT DEVICES WINDOW SECONDS

Each device keeps WINDOW receipts outstanding. At QoS 1 every message brings one, its PUBACK. At QoS 0 none does, so
every :data:`BLOCK` messages are followed by one at QoS 1: its PUBACK says that the receiving end has done what came
before it on that connection (our consumer takes them in order), and only then do they count.
"""

import selectors
import socket
import sys
import time
from collections.abc import Iterator

PAYLOAD = b'{"celsius": 21.5}'
BLOCK = 200
RING = 60_000  # packet identifiers go round


def string(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def packet(first: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((first, len(body))) + body


class Device:
    """One connection. ``unit`` is what brings one receipt: a message at QoS 1, or a block that ends with one."""

    def __init__(self, port: int, number: int, quiet: int) -> None:
        topic = string(b"sensors/%d/temperature" % number)
        before = packet(0x30, topic + PAYLOAD) * quiet
        ids = range(1, RING // (quiet + 1) + 1)
        units = [before + packet(0x32, topic + packet_id.to_bytes(2, "big") + PAYLOAD) for packet_id in ids]
        self.per_unit = quiet + 1
        self.size = len(units[0])
        self.ring = memoryview(b"".join(units) * 2)
        self.units = len(units)
        self.next = self.done = self.halves = 0
        self.unsent = self.ring[:0]
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(packet(0x10, string(b"MQTT") + b"\4\2\0\0" + string(b"load-%d" % number)))
        assert self.socket.recv(4) == b"\x20\2\0\0"
        self.socket.settimeout(0)

    def send(self, units: int) -> bool:
        """Send more units; whether all of it, and of what was left before, is out."""
        start = self.next * self.size
        more = self.ring[start : start + units * self.size]
        self.next = (self.next + units) % self.units
        self.unsent = memoryview(bytes(self.unsent) + bytes(more)) if self.unsent else more
        return self.flush()

    def flush(self) -> bool:
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return False
        return not self.unsent

    def receipts(self) -> int:
        """How many PUBACKs came."""
        data = self.socket.recv(262_144)
        if not data:
            raise SystemExit("the server closed a connection")
        whole, self.halves = divmod(self.halves + len(data), 4)
        self.done += whole
        return whole


def run(devices: list[Device], window: int, seconds: float) -> float:
    selector = selectors.DefaultSelector()
    for device in devices:
        wanted = selectors.EVENT_READ if device.send(window) else selectors.EVENT_READ | selectors.EVENT_WRITE
        selector.register(device.socket, wanted, device)
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        for key, events in selector.select(1):
            device = key.data
            idle = True
            if events & selectors.EVENT_WRITE:
                idle = device.flush()
            if events & selectors.EVENT_READ:
                idle = device.send(device.receipts())
            wanted = selectors.EVENT_READ if idle else selectors.EVENT_READ | selectors.EVENT_WRITE
            if wanted != key.events:
                selector.modify(device.socket, wanted, device)
    return sum(device.done * device.per_unit for device in devices) / elapsed


def devices(port: int, count: int, quiet: int) -> Iterator[Device]:
    for number in range(count):
        yield Device(port, number, quiet)


if __name__ == "__main__":
    kind = sys.argv[1]
    port, count, window = map(int, sys.argv[2:5])
    print(run(list(devices(port, count, BLOCK if kind == "qos0" else 0)), window, float(sys.argv[5])))
