"""More peers of an MQTT server whose processes take over from each other: QoS 0 and 1, clean sessions, shared
subscriptions, retained messages, wills."""

import collections
import threading
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from servers.replaced_load import PATIENCE, Load, Say
from servers.site import until

KEPT = 3600


class Will(NamedTuple):
    topic: str
    keepalive: int = 60


class Device:
    """A client that connects again a second after its connection has ended, if it ``returns``. ``expiry``: how long its
    session outlives the connection; None: it speaks 3.1.1, with a clean session."""

    def __init__(
        self, port: int, name: str, expiry: int | None = KEPT, will: Will | None = None, *, returns: bool = True
    ) -> None:
        self.name = name
        self.times = 0
        """How often it has connected."""
        self.present: list[bool] = []
        """Whether it found its session, each time."""
        self.heard: collections.Counter[str] = collections.Counter()
        self.first: collections.Counter[str] = collections.Counter()
        """What came without DUP."""
        self._wanted: list[tuple[str, int]] = []
        self._subscribed = threading.Event()
        self._published: collections.deque[int] = collections.deque(maxlen=100)
        self.client = client = self._made(name, expiry, returns)
        client.reconnect_delay_set(1, 1)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_publish = lambda _, __, number, *___: self._published.append(number)
        if will is not None:
            client.will_set(will.topic, name, 1)
        client.connect("127.0.0.1", port, keepalive=will.keepalive if will is not None else 60, **self._how)
        client.loop_start()
        until(client.is_connected, f"{name} is connected", PATIENCE)

    def _made(self, name: str, expiry: int | None, returns: bool) -> mqtt.Client:
        self._how: dict[str, Any] = {}
        version = mqtt.CallbackAPIVersion.VERSION2
        if expiry is None:
            return mqtt.Client(version, name, clean_session=True, reconnect_on_failure=returns)
        properties = mqtt.Properties(mqtt.PacketTypes.CONNECT)
        properties.SessionExpiryInterval = expiry
        self._how = {"clean_start": not expiry, "properties": properties}
        return mqtt.Client(version, name, protocol=mqtt.MQTTv5, reconnect_on_failure=returns)

    def _on_connect(self, client: mqtt.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.times += 1
        self.present.append(flags.session_present)
        if not flags.session_present:
            self._subscribed.clear()
            for topic, qos in self._wanted:
                client.subscribe(topic, qos)

    def _on_message(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        self.heard[text := message.payload.decode()] += 1
        self.first[text] += not message.dup

    def subscribe(self, topic: str, qos: int) -> None:
        self._wanted.append((topic, qos))
        self.client.subscribe(topic, qos)
        self.is_subscribed()

    def is_subscribed(self) -> None:
        assert self._subscribed.wait(PATIENCE)

    def publish(self, topic: str, payload: str, qos: int, *, retain: bool = False) -> bool:
        """Publish, and wait for the acknowledgement. Return whether it came over the same connection."""
        before = self.times
        number = self.client.publish(topic, payload.encode(), qos, retain).mid
        until(lambda: number in self._published, f"{payload} is published", PATIENCE)
        return self.times == before and self.client.is_connected()

    def hears(self, payload: str, before: int) -> bool:
        """Wait for ``payload``. Return whether it has come before the connection of the number ``before`` ended."""
        until(
            lambda: self.heard[payload] or self.times != before or not self.client.is_connected(),
            f"{payload} comes back, or the connection ends",
            PATIENCE,
        )
        return bool(self.heard[payload])

    def break_off(self) -> None:
        """End the connection without a goodbye."""
        self.client.loop_stop()
        if (connection := self.client.socket()) is not None:
            connection.close()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class _Devices(ABC):
    servers = ""

    def __init__(self) -> None:
        self._devices: list[Device] = []

    def _device(
        self, name: str, expiry: int | None = KEPT, will: Will | None = None, *, returns: bool = True
    ) -> Device:
        self._devices.append(device := Device(self._load.ports["mqtt"], name, expiry, will, returns=returns))
        return device

    def begin(self, load: Load) -> dict[str, Say]:
        self._load = load
        return self._begin()

    @abstractmethod
    def _begin(self) -> dict[str, Say]:
        """Connect the clients, and return who speaks."""

    @abstractmethod
    def end(self) -> None:
        """See that everything has come."""

    def close(self) -> None:
        for each in self._devices:
            each.close()


class AtMostOnce(_Devices):
    """QoS 0: a message is lost only where the connection ends."""

    def _begin(self) -> dict[str, Say]:
        self._both = self._device("zero")
        self._both.subscribe("zero", 0)
        return {"zero": self._say}

    def _say(self, name: str) -> None:
        until(self._both.client.is_connected, "it is connected", PATIENCE)
        before = self._both.times
        self._both.client.publish("zero", name.encode(), 0)
        if not self._both.hears(name, before):
            self._load.lost.add(name)

    def end(self) -> None:
        assert set(self._both.heard.values()) == {1}
        assert len(self._load.lost) < self._both.times, self._load.lost


class AtLeastOnce(_Devices):
    """QoS 1: a second copy says that it is one, or its publisher had to send it again."""

    def _begin(self) -> dict[str, Say]:
        self._subscriber, self._publisher = self._device("one"), self._device("one-publisher")
        self._subscriber.subscribe("one", 1)
        return {"one": self._say}

    def _say(self, name: str) -> None:
        if not self._publisher.publish("one", name, 1):
            self._load.sent_again.add(name)

    def end(self) -> None:
        until(lambda: self._subscriber.heard.keys() >= set(self._load.said["one"]), "all have come", PATIENCE)
        doubled = {name for name, times in self._subscriber.first.items() if times > 1}
        assert doubled <= self._load.sent_again
        assert self._subscriber.present.count(False) == 1


class Clean(_Devices):
    """Clients whose sessions end with their connections find none, and subscribe again."""

    def _begin(self) -> dict[str, Say]:
        self._clean = {"old": self._device("old", None), "new": self._device("new", 0)}
        for name, each in self._clean.items():
            each.subscribe(name, 1)
        return dict.fromkeys(self._clean, self._say)

    def _say(self, name: str) -> None:
        topic = name.partition("-")[0]
        client = self._clean[topic]
        client.is_subscribed()
        before = client.times
        if not (client.publish(topic, name, 1) and client.hears(name, before)):
            self._load.sent_again.add(name)

    def end(self) -> None:
        assert not any(present for each in self._clean.values() for present in each.present)


class Shared(_Devices):
    """A group of two, at QoS 2: one of them gets each message."""

    def _begin(self) -> dict[str, Say]:
        self._members = [self._device("member-1"), self._device("member-2")]
        for each in self._members:
            each.subscribe("$share/group/shared", 2)
        publisher = self._device("shared-publisher")
        return {"shared": lambda name: publisher.publish("shared", name, 2) and None}

    def end(self) -> None:
        until(lambda: self._heard().keys() >= set(self._load.said["shared"]), "all have come", PATIENCE)
        assert set(self._heard().values()) == {1}
        assert all(each.heard for each in self._members)

    def _heard(self) -> "collections.Counter[str]":
        return self._members[0].heard + self._members[1].heard


class Retained(_Devices):
    """A message that was retained is what a new subscriber gets."""

    def _begin(self) -> dict[str, Say]:
        self._publisher = self._device("retained-publisher")
        return {"state": self._say}

    def _say(self, name: str) -> None:
        self._publisher.publish("state", name, 2, retain=True)
        late = Device(self._load.ports["mqtt"], "late", None)
        try:
            late.subscribe("state", 1)
            until(lambda: late.heard, "the retained message", PATIENCE)
            assert late.heard.keys() == {name}
        finally:
            late.close()

    def end(self) -> None:
        """Each subscriber has seen its message."""


class Wills(_Devices):
    """A will is published once its client is gone, and not because another process takes over."""

    def _begin(self) -> dict[str, Say]:
        self._watcher = self._device("watcher")
        self._watcher.subscribe("wills", 2)
        ways, will = (None, 0, KEPT), Will("wills", keepalive=4)
        self._there = [self._device(f"there-{expiry}", expiry, will) for expiry in ways]
        self._gone = [self._device(f"gone-{expiry}", expiry, will, returns=False) for expiry in ways]
        return {}

    def end(self) -> None:
        gone, there = ({each.name for each in group} for group in (self._gone, self._there))
        until(lambda: self._watcher.heard.keys() >= gone, lambda: str(self._watcher.heard), PATIENCE)
        assert self._watcher.heard.keys() == gone
        for each in self._there:
            each.break_off()
        until(lambda: self._watcher.heard.keys() >= there, lambda: str(self._watcher.heard), PATIENCE)
        assert set(self._watcher.heard.values()) == {1}
