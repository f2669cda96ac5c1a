"""The quiet pair, and the client that does its worst, raw sockets. Prints the pair's p99 in ms.

python -m benchmarks.mqtt_fairness_load KIND PORT SECONDS
python -m benchmarks.mqtt_fairness_load KIND PORT SECONDS flood
"""

import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.mqtt_fanout_load import dial
from benchmarks.mqtt_load import packet, string
from benchmarks.side_by_side import python

BLOCK = 5_000
"""Messages of a flood that are encoded at a time."""
TOPICS = 1_000_000
RETAINED = 100_000
MANY = 1_000
PAUSE = 0.002
"""Seconds between two messages of the pair: it shall wait for the server, not the server for it."""


def publish(topic: bytes, *, retain: bool = False) -> bytes:
    return packet(0x30 | retain, string(topic) + b"1")


def subscribe(made: socket.socket, topic_filter: bytes) -> None:
    made.sendall(packet(0x82, b"\0\1" + string(topic_filter) + b"\0"))


def subscriber(port: int, name: bytes, topic_filter: bytes) -> socket.socket:
    made = dial(port, name)
    subscribe(made, topic_filter)
    assert made.recv(5)[0] == 0x90
    return made


class Reader:
    """Takes whatever comes, from any number of connections, so that nobody waits for them."""

    def __init__(self, *connections: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        for each in connections:
            self._selector.register(each, selectors.EVENT_READ, data=each)

    def take(self, seconds: float = 0.0) -> int:
        """Bytes."""
        ready = self._selector.select(seconds)
        return sum(len(key.data.recv(262_144)) for key, _ in ready)


def ping(made: socket.socket) -> None:
    """Returns when the server has done what came before."""
    made.sendall(b"\xc0\0")
    while not made.recv(262_144).endswith(b"\xd0\0"):
        pass


def topics(port: int, until: float, *filters: bytes) -> None:
    made = dial(port, b"flood")
    reader = Reader(*(subscriber(port, b"flooded-%d" % number, each) for number, each in enumerate(filters)))
    number = 0
    while time.perf_counter() < until:
        names = range(number, number + BLOCK)
        block = memoryview(b"".join(publish(b"flood/%d/%d" % (name % 1000, name)) for name in names))
        number = (number + BLOCK) % TOPICS
        made.settimeout(0)
        while block and time.perf_counter() < until:
            try:
                block = block[made.send(block) :]
            except BlockingIOError:
                reader.take(0.001)
            reader.take()


def many(port: int, until: float) -> None:
    made = dial(port, b"flood")
    reader = Reader(*(subscriber(port, b"flooded-%d" % number, b"flood") for number in range(MANY)))
    size = len(publish(b"flood"))
    while time.perf_counter() < until:
        made.sendall(publish(b"flood") * 20)
        left = 20 * size * MANY
        while left > 0 and time.perf_counter() < until:
            left -= reader.take(0.01)


def wildcards(port: int, until: float) -> None:
    made = dial(port, b"flood")
    for start in range(0, RETAINED, BLOCK):
        made.sendall(b"".join(publish(b"r/%d/x" % number, retain=True) for number in range(start, start + BLOCK)))
    ping(made)
    reader = Reader(made)
    while time.perf_counter() < until:
        for topic_filter in (b"+/+/nothing", b"#"):
            subscribe(made, topic_filter)
            while reader.take(0.02):
                pass


FLOODS: dict[str, Callable[[int, float], None]] = {
    "quiet": lambda port, until: None,
    "topics": topics,
    "subscribed": lambda port, until: topics(port, until, b"flood/#", b"flood/+/+", b"+/+/+"),
    "many": many,
    "wildcards": wildcards,
}


def pair(port: int, seconds: float, lead: float) -> float:
    """The p99 of one message from the one to the other, in ms, from ``lead`` seconds on."""
    there, here = subscriber(port, b"quiet-there", b"quiet/x"), dial(port, b"quiet-here")
    took: list[float] = []
    begin = time.perf_counter() + lead
    while (now := time.perf_counter()) < begin + seconds:
        here.sendall(publish(b"quiet/x"))
        assert there.recv(100)
        if now > begin:
            took.append(1000 * (time.perf_counter() - now))
        time.sleep(PAUSE)
    return statistics.quantiles(took, n=100)[98]


if __name__ == "__main__":
    kind, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    lead = 0.5 if kind != "wildcards" else 2.0
    if sys.argv[4:]:
        FLOODS[kind](port, time.perf_counter() + lead + seconds)
    else:
        module = "benchmarks.mqtt_fairness_load"
        with subprocess.Popen(python("-m", module, kind, str(port), str(lead + seconds), "flood")) as flood:
            print(pair(port, seconds, lead))
            flood.terminate()
