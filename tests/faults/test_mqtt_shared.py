"""Two gateways share a subscription at Mosquitto, and one of them is killed: nothing is lost.

What the dead one had not acknowledged, and its turn of what comes while it is away, waits for it at Mosquitto, which
gives nothing of a session to another member. So it is all handled once the killed one is back, and not before.
"""

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from crashing import SEEDS
from servers.gateway_process import GatewayProcess
from servers.mosquitto import Mosquitto, mosquitto
from servers.site import PATIENCE, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(180)]

COUNT = 400
HANDLERS = """
import os, time
from gateway import MqttConsumer

BOOK = os.open(os.environ["BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Reading(MqttConsumer):
    def receive(self, topic, payload):
        time.sleep(0.002)
        os.write(BOOK, f"{os.environ['NAME']} {payload.decode()}\\n".encode())
"""
CONFIG = """
servers:
  plant:
    protocol: mqtt-client
    url: URL
    subscribe: ["$share/readers/t/#"]
    client_id: NAME
    qos: QOS
    parallel: 2
    max_unacked: 10
    retry: 50ms
routes: {mqtt: shared_handlers.Reading}
"""


class Member(GatewayProcess):
    """A gateway of the group."""

    def __init__(self, folder: Path, name: str, broker: Mosquitto, qos: int) -> None:
        config = CONFIG.replace("URL", broker.url).replace("NAME", name).replace("QOS", str(qos))
        super().__init__(folder / name, "shared_handlers", HANDLERS, config, BOOK=str(folder / "book"), NAME=name)
        self.name = name


class Group:
    def __init__(self, folder: Path, broker: Mosquitto, qos: int) -> None:
        self._book = folder / "book"
        self.members = [Member(folder, name, broker, qos) for name in ("one", "two")]

    def handled(self) -> list[tuple[str, str]]:
        """(process, message) for each message that was handled."""
        lines = self._book.read_text().splitlines() if self._book.exists() else []
        return [(name, payload) for name, _, payload in (line.partition(" ") for line in lines)]

    def payloads(self) -> set[str]:
        return {payload for _, payload in self.handled()}

    def both_work(self, device: "Device") -> bool:
        device.publish("warm")
        time.sleep(0.05)
        return {name for name, _ in self.handled()} == {"one", "two"}


class Device:
    def __init__(self, broker: Mosquitto, qos: int) -> None:
        self._qos = qos
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="device")
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def publish(self, payload: str) -> None:
        """Returns when the broker has it."""
        message = self._client.publish(f"t/{random.randrange(8)}", payload, qos=self._qos)
        message.wait_for_publish(PATIENCE)
        assert message.is_published()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(params=[1, 2], ids=["QoS 1", "QoS 2"])
def group(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Group, Device]]:
    with mosquitto() as broker, contextlib.ExitStack() as stack:
        group = Group(tmp_path, broker, request.param)
        for member in group.members:
            stack.callback(member.stop, signal.SIGKILL)
            member.start()
        device = Device(broker, request.param)
        stack.callback(device.close)
        yield group, device


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_member_takes_nothing_with_it(group: tuple[Group, Device], seed: int) -> None:
    team, device = group
    victim, other = team.members
    until(lambda: team.both_work(device), f"both have joined\n{victim.output()}\n{other.output()}")
    killed_at = random.Random(seed).randrange(COUNT // 4, COUNT // 2)
    for number in range(COUNT):
        device.publish(str(number))
        if number == killed_at:
            victim.stop(signal.SIGKILL)
    sent = {str(number) for number in range(COUNT)}
    until(lambda: str(COUNT - 1) in team.payloads() or str(COUNT - 2) in team.payloads(), "the other one goes on")
    assert not sent <= team.payloads()  # Mosquitto goes on giving the dead one its turn
    victim.start()
    until(lambda: sent <= team.payloads(), f"all are handled\n{victim.output()}\n{other.output()}", 60)
    shares = {name: {payload for who, payload in team.handled() if who == name} for name in ("one", "two")}
    assert min(len(each) for each in shares.values()) > COUNT // 8
    again = [payload for _, payload in team.handled() if payload != "warm"]
    assert len(again) - len(sent) <= 20  # inbox times parallel: what the dead one may have handled and not acknowledged
    assert [member.stop(signal.SIGTERM) for member in team.members] == [0, 0]
