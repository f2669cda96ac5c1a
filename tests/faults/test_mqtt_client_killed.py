"""kill -9 of a gateway that hears a Mosquitto at QoS 2, with ``persistence: true``: each message is handled, and none
again whose PUBREC Mosquitto has had. What its handler publishes at QoS 2 arrives once. A full
disk only delays all that."""

import contextlib
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crashing import SEEDS
from servers.gateway_process import GatewayProcess
from servers.mosquitto import Mosquitto, mosquitto
from servers.programs import program
from servers.site import PATIENCE, until
from servers.small_disk import small_disk

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

KILLS, EACH = 6, 65
"""Each kill comes while so many messages are published: some are handled by then, others are still to come."""
COUNT = KILLS * EACH
HANDLERS = """
import itertools, os, time
from gateway import MqttConsumer

NUMBERS = itertools.count()
BOOK = os.open(os.environ["BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Reading(MqttConsumer):
    def receive(self, topic, payload):
        time.sleep(0.002)
        os.write(BOOK, f"{topic}\\n".encode())
        self.publish(f"out/{topic}", f"{topic} {os.getpid()} {next(NUMBERS)}".encode(), qos=2, wait=True)
"""
CONFIG = """
servers:
  plant:
    {protocol: mqtt-client, url: URL, subscribe: ["t/#"], client_id: one, qos: 2, persistence: true, max_unacked: 10,
     parallel: 2, retry: 50ms}
routes: {mqtt: killed_handlers.Reading}
store: sqlite:STORE
"""
SENT = re.compile(r"Sending PUBLISH to one \(d\d, q2, r\d, m(\d+), '(t/\d+)'")
RECEIVED = re.compile(r"Received PUBREC from one \(Mid: (\d+)")


class Gateway(GatewayProcess):
    def __init__(self, folder: Path, broker: Mosquitto, store: str = "gateway.db") -> None:
        self._book = folder / "book"
        config = CONFIG.replace("URL", broker.url).replace("STORE", store)
        super().__init__(folder, "killed_handlers", HANDLERS, config, BOOK=str(self._book))

    def handled(self) -> Counter[str]:
        return Counter(self._book.read_text().split()) if self._book.exists() else Counter()


def received(broker: Mosquitto) -> set[str]:
    """The topics of messages whose PUBREC Mosquitto has had, as it logs them."""
    topics: dict[str, str] = {}
    done = set()
    for line in (broker._root / "log").read_text(errors="replace").splitlines():
        if found := SENT.search(line):
            topics[found[1]] = found[2]
        elif found := RECEIVED.search(line):
            done.add(topics[found[1]])
    return done


@pytest.mark.parametrize("seed", SEEDS)
def test_kill_9(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with mosquitto(lines=("log_type all", "max_queued_messages 0")) as broker, _subscriber(tmp_path, broker) as heard:
        gateway = Gateway(tmp_path, broker)
        try:
            gateway.start()
            until(lambda: "SUBSCRIBE from one" in (broker._root / "log").read_text(), gateway.output)
            for first in range(0, COUNT, EACH):
                before = len(gateway.handled())
                publishing = threading.Thread(target=_publish, args=(broker, range(first, first + EACH)))
                publishing.start()
                until(lambda before=before: len(gateway.handled()) > before, "something is handled")
                time.sleep(dice.uniform(0.0, 0.2))
                gateway.stop(signal.SIGKILL)
                at_kill, recorded = gateway.handled(), received(broker)
                gateway.start()
                time.sleep(dice.uniform(0.5, 1.0))
                again = {topic for topic in recorded if gateway.handled()[topic] > at_kill[topic]}
                assert again == set()
                publishing.join(PATIENCE)
            until(lambda: len(gateway.handled()) == COUNT, "all are handled", 60.0)
            until(lambda: len(received(broker)) == COUNT, "Mosquitto knows it", 60.0)
            until(lambda: len({line.split()[0] for line in heard()}) == COUNT, "the subscriber has an answer to each")
            assert len(heard()) == len(set(heard()))
            gateway.stop(signal.SIGTERM)
        finally:
            gateway.stop(signal.SIGKILL)
    assert "Traceback" not in gateway.output()


@contextlib.contextmanager
def _subscriber(folder: Path, broker: Mosquitto) -> Iterator[Callable[[], list[str]]]:
    """Somebody who hears what handlers publish; the payloads."""
    command = [program("mosquitto_sub"), "-p", str(broker.port), "-i", "watcher", "-q", "2", "-t", "out/#"]
    book = folder / "heard"
    with book.open("wb", buffering=0) as file, subprocess.Popen(["stdbuf", "-oL", *command], stdout=file) as process:
        until(lambda: "SUBSCRIBE from watcher" in (broker._root / "log").read_text(), "it has subscribed")
        try:
            yield lambda: book.read_text().splitlines()
        finally:
            process.kill()


def test_a_full_disk_delays_the_pubrec(tmp_path: Path) -> None:
    """Each message is handled once: what the disk does not hold yet waits."""
    with mosquitto(lines=("log_type all", "max_queued_messages 0")) as broker, small_disk(tmp_path / "disk") as disk:
        gateway = Gateway(tmp_path, broker, store="disk/gateway.db")
        try:
            gateway.start()
            until(lambda: "SUBSCRIBE from one" in (broker._root / "log").read_text(), gateway.output)
            _publish(broker, range(1))
            until(lambda: len(received(broker)) == 1, "there is room")
            disk.fill()
            for number in range(1, COUNT):  # what SQLite still has room for in its own file is kept
                _publish(broker, range(number, number + 1))
                if "cannot be kept" in gateway.output():
                    break
            time.sleep(1.5)
            assert len(received(broker)) < number + 1
            assert gateway.output().count("cannot be kept") == 1
            disk.empty()
            until(lambda: len(received(broker)) == number + 1, "Mosquitto knows all of it")
            gateway.stop(signal.SIGTERM)
        finally:
            gateway.stop(signal.SIGKILL)
    assert set(gateway.handled().values()) == {1}
    assert "Traceback" not in gateway.output()


def _publish(broker: Mosquitto, numbers: range) -> None:
    for number in numbers:
        broker.publish(f"t/{number}", "on", "-q", "2")
