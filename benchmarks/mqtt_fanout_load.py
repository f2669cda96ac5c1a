"""The fan-out's load: one publisher, many subscribers, raw sockets. Prints deliveries per second.

    python -m benchmarks.mqtt_fanout_load QOS PORT SUBSCRIBERS WINDOW SECONDS [kept]

The publisher keeps WINDOW messages on their way: it sends the next ones as the last ones have reached everybody, so
that nobody has a reason to drop any. At QoS 1 every subscriber acknowledges what it gets. ``kept``: the subscribers
have sessions that outlive their connections.
"""

import os
import selectors
import socket
import sys
import time

from benchmarks.mqtt_load import PAYLOAD, packet, string

TOPIC = b"sensors/1/temperature"
RING = 60_000
PATIENCE = 60.0
"""Seconds for an answer: amqtt is busy for a while after the last load."""


def dial(port: int, name: bytes, *, kept: bool = False) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), PATIENCE)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.sendall(
        packet(0x10, string(b"MQTT") + (b"\4\0\0\0" if kept else b"\4\2\0\0") + string(b"%d-%s" % (os.getpid(), name)))
    )
    assert made.recv(4) == b"\x20\2\0\0"
    return made


class Subscriber:
    """Counts what comes by its length, which is always the same."""

    def __init__(self, port: int, number: int, qos: int, *, kept: bool) -> None:
        self.socket = dial(port, b"subscriber-%d" % number, kept=kept)
        self.socket.sendall(packet(0x82, b"\0\1" + string(TOPIC) + bytes((qos,))))
        assert self.socket.recv(5) == bytes((0x90, 3, 0, 1, qos))
        self.socket.settimeout(0)
        self._qos = qos
        self._size = len(message(qos, 1))
        self._rest = b""

    def take(self) -> int:
        """How many messages came."""
        data = self.socket.recv(262_144)
        if not data:
            raise SystemExit("the server closed a connection")
        data = self._rest + data
        count = len(data) // self._size
        self._rest = data[count * self._size :]
        if self._qos and count:
            self.socket.sendall(self._acknowledgements(data[: count * self._size], count))
        return count

    def _acknowledgements(self, data: bytes, count: int) -> bytes:
        """A PUBACK for each of ``data``, whose packet identifiers are all at the same place."""
        at = 4 + len(TOPIC)
        found = bytearray(b"\x40\2\0\0" * count)
        found[2::4] = data[at :: self._size]
        found[3::4] = data[at + 1 :: self._size]
        return bytes(found)


class Publisher:
    def __init__(self, port: int, qos: int) -> None:
        self.socket = dial(port, b"publisher")
        self.sent = 0
        self._ring = [message(qos, number) for number in range(1, RING + 1)]

    def send(self, count: int) -> None:
        start = self.sent % RING
        self.socket.sendall(b"".join(self._ring[start : start + count]))
        self.sent += min(count, RING - start)


def message(qos: int, number: int) -> bytes:
    return packet(0x30 | qos << 1, string(TOPIC) + (number.to_bytes(2, "big") if qos else b"") + PAYLOAD)


def run(publisher: Publisher, subscribers: list[Subscriber], window: int, seconds: float) -> float:
    selector = selectors.DefaultSelector()
    for each in subscribers:
        selector.register(each.socket, selectors.EVENT_READ, each.take)
    selector.register(publisher.socket, selectors.EVENT_READ, lambda: len(publisher.socket.recv(65536)) * 0)
    delivered, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        if (room := window - publisher.sent + delivered // len(subscribers)) * 2 >= window:
            publisher.send(room)
        for key, _ in selector.select(1):
            delivered += key.data()
    rate = delivered / elapsed
    while delivered < publisher.sent * len(subscribers) and (ready := selector.select(PATIENCE)):
        delivered += sum(key.data() for key, _ in ready)
    for each in subscribers:  # where its session is kept, nothing is to wait for it
        each.socket.sendall(packet(0xA2, b"\0\1" + string(TOPIC)))
    for each in (publisher, *subscribers):  # amqtt stops for good over one who left without a word
        each.socket.sendall(packet(0xE0, b""))
    return rate


if __name__ == "__main__":
    qos, port, count, window = map(int, sys.argv[1:5])
    everybody = [Subscriber(port, number, qos, kept="kept" in sys.argv) for number in range(count)]
    print(run(Publisher(port, qos), everybody, window, float(sys.argv[5])))
