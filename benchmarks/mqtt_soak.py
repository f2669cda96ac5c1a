"""Five minutes of mixed traffic, and the server's memory every ten seconds. The last line is by how much it grew.

Visitors come and go by the thousand: 3.1.1 and 5.0, clean and persistent sessions, QoS 0 to 2, retained messages,
wills, shares, aliases, goodbyes and cut connections. They have a few hundred names and topics between them, so that
what has to be kept is all there after the first fifth of the time; what grows after that was forgotten.
"""

import argparse
import itertools
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import psutil
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.mqtt_qos1 import PEERS
from benchmarks.side_by_side import running

VISITORS = 4
"""At a time."""
NAMES, TOPICS = 50, 500
EVERY = 10.0
PATIENCE = 30.0


def topic(chance: random.Random) -> str:
    return f"soak/{chance.randrange(TOPICS)}"


@dataclass
class Visitor:
    """One visit: connect, subscribe, publish, perhaps unsubscribe, leave somehow."""

    port: int
    name: str
    chance: random.Random
    ready: threading.Event = field(default_factory=threading.Event)

    def visit(self) -> int:
        """How many messages it published."""
        client = self._client()
        client.on_connect = lambda *_: self._subscribe(client)
        client.on_subscribe = lambda *_: self.ready.set()
        client.connect("127.0.0.1", self.port, **self._session(client))
        client.loop_start()
        if not self.ready.wait(PATIENCE):
            raise SystemExit(f"{self.name} was not answered within {PATIENCE:g} s")
        count = self._publish(client)
        self._leave(client)
        return count

    def _client(self) -> paho.Client:
        version = self.chance.choice([MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
        session = {"clean_session": self.chance.random() < 0.5} if version == MQTTProtocolVersion.MQTTv311 else {}
        client = paho.Client(
            CallbackAPIVersion.VERSION2, self.name, protocol=version, reconnect_on_failure=False, **session
        )
        if self.chance.random() < 0.5:
            client.will_set(topic(self.chance), b"gone", self.chance.randrange(3), retain=self.chance.random() < 0.5)
        return client

    def _session(self, client: paho.Client) -> dict[str, object]:
        if client.protocol == MQTTProtocolVersion.MQTTv311:
            return {}
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = self.chance.choice([0, 2, 3600])
        properties.TopicAliasMaximum = self.chance.choice([0, 10])
        return {"clean_start": self.chance.random() < 0.3, "properties": properties}

    def _subscribe(self, client: paho.Client) -> None:
        shared = "$share/soak/" if self.chance.random() < 0.2 else ""
        client.subscribe([(shared + topic(self.chance), self.chance.randrange(3)) for _ in range(5)])

    def _publish(self, client: paho.Client) -> int:
        said = []
        for number in range(20):
            payload = b"" if self.chance.random() < 0.2 else bytes(self.chance.randrange(200))
            given = (topic(self.chance), payload, number % 3, self.chance.random() < 0.3)
            said.append(client.publish(*given))
        for each in said:
            each.wait_for_publish(PATIENCE)
        client.unsubscribe([topic(self.chance) for _ in range(3)])
        return len(said)

    def _leave(self, client: paho.Client) -> None:
        there = cast("socket.socket | None", client.socket())
        if self.chance.random() < 0.5 or there is None:
            client.disconnect()
        else:
            there.shutdown(socket.SHUT_RDWR)
        client.loop_stop()


class Traffic:
    """Visits on threads, until :meth:`stop`."""

    def __init__(self, port: int) -> None:
        self.visits = self.messages = 0
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port, each)) for each in range(VISITORS)]
        for thread in self._threads:
            thread.start()

    def _run(self, port: int, number: int) -> None:
        chance = random.Random(number)
        while not self._stopping.is_set():
            name = f"visitor-{number}-{chance.randrange(NAMES)}"
            said = Visitor(port, name, chance).visit()
            self.messages += said
            self.visits += 1

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()


def sizes(server: psutil.Process, seconds: float, every: float) -> Iterator[tuple[float, int]]:
    """Seconds, and resident bytes then."""
    start = time.monotonic()
    for count in itertools.count(1):
        if count * every > seconds:
            return
        time.sleep(max(0.0, start + count * every - time.monotonic()))
        yield count * every, server.memory_info().rss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    seconds = parser.parse_args().seconds
    with running(PEERS[0]) as (port, pid):
        traffic = Traffic(port)
        found = []
        try:
            for at, size in sizes(psutil.Process(pid), seconds, min(EVERY, seconds / 10)):
                found.append(size)
                print(f"{at:6.0f} s  {size / 2**20:6.1f} MiB  {traffic.visits:,} visits, {traffic.messages:,} messages")
        finally:
            traffic.stop()
    early = found[len(found) // 5]
    print(f"growth {(found[-1] - early) / 2**20:.1f} MiB in the last four fifths, {found[-1] / early:.2f}", flush=True)


if __name__ == "__main__":
    main()
