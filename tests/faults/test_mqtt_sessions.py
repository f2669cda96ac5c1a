"""kill -9 at random moments, and devices with sessions: what was acknowledged reaches its subscriber and its handler,
at QoS 2 once."""

import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from crashing import SEEDS, Crashing
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from servers.site import PATIENCE, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

KILLS = 3
CONFIG = """
servers:
  web: {protocol: http, bind: "127.0.0.1:8000"}
  devices: {protocol: mqtt, bind: "127.0.0.1:1883", persistence: true}
  mail: {protocol: smtp, bind: "127.0.0.1:8025"}
routes:
  websocket: gateway.WebsocketConsumer
  email: crash_handlers.Mail
  mqtt: [{topic: "#", app: crash_handlers.Device, inbox: true, attempts: 50, backoff: 50ms}]
log: {level: warning}
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Crashing]:
    site = Crashing(tmp_path)
    site.configure(CONFIG)
    try:
        site.start()
        yield site
    finally:
        site.close()


NEW = re.compile(r"Sending PUBLISH \(d0, q2, r\d, m(\d+)\)")
"""What paho logs."""


class Device:
    """A paho client with a session, that comes back by itself and says again what was not acknowledged."""

    def __init__(self, site: Crashing, client_id: str, version: MQTTProtocolVersion) -> None:
        self.heard: Counter[str] = Counter()
        self.subscribed = threading.Event()
        self.published: set[int] = set()
        """Message ids: at QoS 1 after PUBACK, at QoS 2 after PUBCOMP."""
        self.begun: Counter[int] = Counter()
        """By message id, how often it was published as if it were new. Mostly once; but where the connection breaks
        between paho's two threads, one may take a message to be unsent that the other has had a PUBREC for."""
        kind: dict[str, Any] = {} if version == MQTTProtocolVersion.MQTTv5 else {"clean_session": False}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, **kind)
        self.client.reconnect_delay_set(1, 1)
        self.client.max_inflight_messages_set(20)
        self.client.on_message = lambda client, data, message: self.heard.update([message.payload.decode()])
        self.client.on_publish = lambda client, data, mid, code, properties: self.published.add(mid)
        self.client.on_log = lambda client, data, level, text: self.begun.update(map(int, NEW.findall(text)))
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        kind = {}
        if version == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            kind = {"clean_start": False, "properties": properties}
        self.client.connect("127.0.0.1", site.mqtt, **kind)
        self.client.loop_start()

    def subscribe(self, topic: str, qos: int) -> None:
        self.client.subscribe(topic, qos)
        assert self.subscribed.wait(PATIENCE)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Publisher(threading.Thread):
    """Publishes one after the other, a few at a time, and knows which were acknowledged."""

    def __init__(self, device: Device, prefix: str, qos: int) -> None:
        super().__init__(daemon=True)
        self.prefix = prefix
        self.acknowledged: set[str] = set()
        self.mids: dict[str, int] = {}
        self.stopping = threading.Event()
        self._device = device
        self._qos = qos

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            sent = []
            for _ in range(5):
                what = f"{self.prefix}-{number}"
                self.mids[what] = self._device.client.publish(f"fan/{self.prefix}", what, self._qos).mid
                sent.append(what)
                number += 1
            for what in sent:
                until(
                    partial(self._device.published.__contains__, self.mids[what]),
                    f"{what} is acknowledged",
                    3 * PATIENCE,
                )
                self.acknowledged.add(what)


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
@pytest.mark.parametrize("seed", SEEDS)
def test_sessions_outlive_the_gateway(site: Crashing, seed: int, version: MQTTProtocolVersion) -> None:
    devices = [Device(site, name, version) for name in ("pub1", "pub2", "sub")]
    try:
        subscriber = devices[2]
        subscriber.subscribe("fan/#", 2)
        publishers = [Publisher(devices[0], "mqtt1", 1), Publisher(devices[1], "qos2", 2)]
        for publisher in publishers:
            publisher.start()
        site.kill_again_and_again(KILLS, random.Random(seed))
        until(lambda: all(len(each.acknowledged) > 20 for each in publishers), "they get on", 60)
        for publisher in publishers:
            publisher.stopping.set()
        for publisher in publishers:
            publisher.join(60)
            assert not publisher.is_alive(), f"{publisher.prefix} waits for an acknowledgement"
        acknowledged = {what for each in publishers for what in each.acknowledged}
        until(
            lambda: acknowledged <= subscriber.heard.keys() and acknowledged <= site.handled().keys(),
            lambda: (
                f"missing: {sorted(acknowledged - subscriber.heard.keys())[:9]} at the subscriber, "
                f"{sorted(acknowledged - site.handled().keys())[:9]} at the handler"
            ),
            60,
        )
        twice = publishers[1]
        for what in twice.acknowledged:
            begun = devices[1].begun[twice.mids[what]]
            assert begun
            assert subscriber.heard[what] <= begun
            assert len(site.handled()[what]) <= begun
    finally:
        for device in devices:
            device.close()
