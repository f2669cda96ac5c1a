"""Our client core against our broker core, in memory: random conversations, whose seeds name them.

Bytes travel in pieces, connections are cut with bytes under way, sessions are resumed, taken over and forgotten, the
client's process is killed, and what is to be kept is committed late or not at all. tests/protocols/mqtt/broker kills
the broker in the same way.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import mqtt5_wire as wire
import pytest
from mqtt_memory import Client, Clock

from protocols.errors import Disconnected
from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.core import Answered, ClientCore, Connected, Ended
from protocols.mqtt.client.session import ClientSession
from protocols.mqtt.settings import MQTTSettings

SEEDS = 400
CLIENT_TAKES, BROKER_TAKES = 4, 3
"""Receive maxima."""
LIMITS: dict[str, Any] = {"max_unacked": BROKER_TAKES, "max_session_expiry": 600}


class Kept:
    """A journal, or none, and the disk that it is committed to."""

    def __init__(self, exists: bool) -> None:
        self.exists = exists
        self.disk: dict[str, bytes] = {}
        self.open()

    def open(self) -> None:
        """A process begins."""
        self.journal = Journal(lambda: None) if self.exists else None

    def commit(self, *, fails: bool = False) -> bool:
        """Whether everything up to now is kept."""
        if self.journal is None:
            return False
        position, changes = self.journal.take()
        if fails:
            self.journal.put_back(changes)
            return False
        for key, value in changes.items():
            if value is None:
                self.disk.pop(key, None)
            else:
                self.disk[key] = value
        self.journal.kept(position)
        return True


class Conversation:
    """``plant`` is the client whose core is ours; it subscribes to ``d/#`` and publishes below ``u``."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.version = self.dice.choice(["5.0", "3.1.1"])
        self.kept_by_broker = Kept(self.dice.random() < 0.5)
        self.kept = Kept(self.dice.random() < 0.5)
        self.broker = Broker(MQTTSettings(**LIMITS), journal=self.kept_by_broker.journal, clock=Clock())
        self.publisher = Client(self.broker, wire.connect("publisher"), **LIMITS)
        self.listener = Client(self.broker, wire.connect("listener"), **LIMITS)
        self.listener.say(wire.subscribe("u/#"))
        self.count = 0

        self.core: ClientCore | None = None
        self.is_connected = False  # CONNACK has come
        self.peer: Client = self.publisher  # the broker's end of the connection; none yet
        self.up, self.down = bytearray(), bytearray()
        self.begin_process()

        # To the client.
        self.todo: list[tuple[ClientCore, Any]] = []  # what its application has
        self.owed: set[bytes] = set()
        self.handled: Counter[bytes] = Counter()
        self.not_yet_kept: list[bytes] = []  # handled since the last commit
        self.may_repeat: set[bytes] = set()
        # From the client.
        self.under_way: dict[int, bytes] = {}
        self.cleared_first: dict[int, tuple[bytes, int]] = {}
        self.taken: set[bytes] = set()
        self.is_forgotten = self.is_killed = False
        self.heard: Counter[bytes] = Counter()
        self.held: set[int] = set()  # by the listener, at QoS 2
        self.asked: list[tuple[Client, Any]] = []  # what the broker's application has
        self.acknowledged: Counter[str] = Counter()

    def begin_process(self) -> None:
        self.kept.open()
        self.session = ClientSession(self.kept.journal, "plant")
        self.session.restore(dict(self.kept.disk))

    def message(self, branch: str) -> tuple[str, bytes]:
        """The payload names the topic: an alias that stands for another topic is found out."""
        self.count += 1
        topic = f"{branch}/{self.dice.randrange(3)}"
        return topic, f"{topic} {self.count}".encode()

    # Connections.

    def connect(self) -> None:
        """Not before the application's run over the last connection has ended."""
        if self.core is not None:
            return
        self.todo.clear()
        options = {"version": self.version, "session_expiry": 600, "receive_maximum": CLIENT_TAKES}
        self.core = ClientCore(ConnectOptions("mqtt://h", "h", 1883, "plant", **options), self.session, 0.0)
        self.up.clear()
        self.down.clear()
        self.peer = Client(self.broker, self.core.data_to_send(0.0), **LIMITS)

    def cut(self) -> None:
        """The client knows; the broker may not, and then its next connection takes over."""
        if self.core is None:
            return
        self.core, self.is_connected = None, False
        self.under_way.clear()
        self.cleared_first.clear()
        if self.dice.random() < 0.5:
            self.peer.cut()
        if self.dice.random() < 0.3:  # the broker's application ends with it, or goes on
            self.peer.connection.abandon()
            self.asked = [each for each in self.asked if each[0] is not self.peer]

    def kill(self) -> None:
        """The client's process ends; what its handlers have done, and no disk knows, they may do again."""
        self.cut()
        self.is_killed = True
        self.todo.clear()
        self.may_repeat.update(self.not_yet_kept if self.kept.exists else self.handled)
        self.begin_process()

    def forget(self) -> None:
        """The broker loses the session, and with it what the client has not handled."""
        self.cut()
        Client(self.broker, wire.connect("plant", clean=True)).cut()
        self.owed &= set(self.handled)
        self.is_forgotten = True

    # Bytes.

    def to_broker(self, *, whole: bool = False) -> None:
        if self.core is None:
            return
        self.up += self.core.data_to_send(0.0)
        for event in self.peer.say(self._piece(self.up, whole)) + self.peer.told:
            if event["type"] == "mqtt.receive" and event["id"] is not None:
                self.asked.append((self.peer, event))
        self.peer.told.clear()

    def to_client(self, *, whole: bool = False) -> None:
        if self.core is None:
            return
        self.down += b"".join(self.peer.heard())
        events = self.core.receive(self._piece(self.down, whole))
        while self.core.more:
            events += self.core.receive()
        for event in events:
            self._hear(self.core, event)
        if self.version == "5.0":
            assert sum(core is self.core for core, _ in self.todo) <= CLIENT_TAKES

    def _piece(self, data: bytearray, whole: bool) -> bytes:
        size = len(data) if whole or self.dice.random() < 0.5 else self.dice.randint(0, len(data))
        piece = bytes(data[:size])
        del data[:size]
        return piece

    def _hear(self, core: ClientCore, event: Any) -> None:
        match event:
            case Connected(code):
                assert code == 0
                self.is_connected = True
                core.subscribe([("d/#", 2)])
            case Answered(packet_id, codes) if packet_id in self.cleared_first:
                self._publish(core, packet_id, *self.cleared_first.pop(packet_id))
            case Answered(packet_id, codes) if packet_id in self.under_way:
                assert codes[0] < 0x80
                self.taken.add(self.under_way.pop(packet_id))
            case Answered(_, codes):
                assert list(codes) in ([2], [0])  # SUBACK; PUBCOMP for what an earlier connection published
            case Ended(reason):
                raise AssertionError(reason)
            case _:
                assert event["payload"].startswith(event["topic"].encode() + b" ")
                if event["id"] is not None:
                    self.todo.append((core, event))

    # Messages.

    def publish_to_client(self) -> None:
        topic, payload = self.message("d")
        qos, number = self.dice.choice([0, 1, 2, 2]), self.count
        session = self.broker.sessions.get("plant")
        if qos and session is not None and "d/#" in session.grants:
            self.owed.add(payload)
        self.publisher.say(wire.publish(topic, payload, qos, number))
        if qos:
            self.publisher.acknowledge(number)
        if qos == 2:
            self.publisher.say(wire.pubrel(number))

    def publish_from_client(self) -> None:
        core = self.core
        if core is None or not self.is_connected:
            return
        if len(self.under_way) + len(self.cleared_first) >= min(core.window, BROKER_TAKES):
            return
        (topic, payload), qos = self.message("u"), self.dice.choice([0, 1, 2, 2])
        if not qos:
            core.publish(topic, payload, 0, 0, retain=False, properties={})
            return
        packet_id = core.reserve()
        if qos == 2 and core.clear(packet_id):
            self.cleared_first[packet_id] = payload, qos
        else:
            self._publish(core, packet_id, payload, qos)

    def _publish(self, core: ClientCore, packet_id: int, payload: bytes, qos: int) -> None:
        topic = payload.split()[0].decode()
        core.publish(topic, payload, qos, packet_id, retain=False, properties={})
        self.under_way[packet_id] = payload

    def handle(self) -> None:
        """The client's application is done with a message."""
        if self.todo:
            core, event = self.todo.pop(self.dice.randrange(len(self.todo)))
            if event["qos"] == 2 or core is self.core:
                self.handled[event["payload"]] += event["qos"] == 2 or not self.handled[event["payload"]]
                self.not_yet_kept.append(event["payload"])
                core.acknowledge(event["id"])

    def acknowledge(self) -> None:
        """The broker's application is."""
        if self.asked:
            peer, event = self.asked.pop(self.dice.randrange(len(self.asked)))
            try:
                peer.acknowledge(event["id"])
            except Disconnected:  # it is too late
                pass
            else:
                self.acknowledged[event.get("event", "")] += 1

    def listen(self) -> None:
        """The listener takes and answers what it was sent."""
        for data in self.listener.heard():
            heard = wire.read(data)
            match heard.kind:
                case "PUBLISH" if heard.qos == 2:
                    self.heard[heard.payload] += heard.id not in self.held
                    self.held.add(heard.id)
                    self.listener.say(wire.pubrec(heard.id))
                case "PUBLISH":
                    self.heard[heard.payload] += 1
                    if heard.qos:
                        self.listener.say(wire.puback(heard.id))
                case "PUBREL":
                    self.held.discard(heard.id)
                    self.listener.say(wire.pubcomp(heard.id))

    def commit(self, *, fails: bool | None = None) -> None:
        if self.kept.commit(fails=self.dice.random() < 0.3 if fails is None else fails):
            self.not_yet_kept.clear()
        self.kept_by_broker.commit(fails=self.dice.random() < 0.3 if fails is None else fails)

    # All of it.

    def run(self) -> None:
        steps: dict[int, list[Callable[[], None]]] = {
            3: [self.kill, self.forget],
            10: [self.cut],
            40: [self.connect, self.commit, self.listen],
            60: [self.publish_to_client, self.publish_from_client, self.handle, self.acknowledge],
            90: [self.to_broker, self.to_client],
        }
        often = [step for weight, some in steps.items() for step in some * weight]
        for step in self.dice.choices(often, k=self.dice.randint(20, 300)):
            step()
            while self.broker.backlog.run():
                pass

    def finish(self) -> None:
        """Everything that is under way arrives, is handled, acknowledged and kept."""
        self.cut()
        self.connect()
        for _ in range(60):
            self.to_broker(whole=True)
            self.to_client(whole=True)
            self.listen()
            self.commit(fails=False)
            for _ in range(len(self.todo)):
                self.handle()
            for _ in range(len(self.asked)):
                self.acknowledge()


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_each_message_arrives_as_its_qos_promises(first: int) -> None:
    for seed in range(first, first + 100):
        conversation = Conversation(seed)
        conversation.run()
        conversation.finish()
        check(conversation, f"seed {seed}")


def check(conversation: Conversation, seed: str) -> None:
    handled, heard = conversation.handled, conversation.heard
    assert conversation.owed <= set(handled), seed
    assert {payload for payload, count in handled.items() if count > 1} <= conversation.may_repeat, seed
    assert conversation.taken <= set(heard), seed
    assert max(heard.values(), default=1) == 1, seed
    assert all(count == 1 for event, count in conversation.acknowledged.items() if event), seed
    # Nothing is left over.
    assert not conversation.todo, seed
    assert not conversation.under_way, seed
    assert not conversation.cleared_first, seed
    assert not conversation.session.unreleased, seed
    assert conversation.is_forgotten or not conversation.session.handled, seed
    session = conversation.broker.sessions["plant"]
    assert not session.inflight, seed
    assert conversation.is_killed or not session.inbound, seed  # a new process clears an id before it uses it
    assert conversation.is_forgotten or set(conversation.kept.disk) <= {"session"}, seed
