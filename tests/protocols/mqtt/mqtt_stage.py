"""A conversation of several clients with one server, step by step, and what each of them hears at each step.

No step waits for time to pass. A server looks at what one client says in order: when it has answered PINGREQ it has
done all that came before, and whatever that sends to another client is before the answer to *its* next PINGREQ. A
client that is cut off reads until the server has closed its side too.
"""

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mqtt_raw as raw
from mqtt_raw import Packet, Raw

Heard = dict[str, list[Packet]]
"""By client."""


@dataclass(frozen=True)
class Connect:
    """As another connection of a client that is there, too: then it is taken over."""

    client: str
    clean: bool = True
    expiry: int = 0
    """Seconds, 5.0."""
    will: tuple[str, int, bool] | None = None
    """Topic, QoS, retain."""
    answers: bool = True
    """Whether it acknowledges at once; or only at :class:`Answer`."""


@dataclass(frozen=True)
class Subscribe:
    client: str
    filters: tuple[tuple[str, int], ...]
    """With their options as 5.0 has them; 3.1.1 takes the QoS from it."""
    identifier: int = 0


@dataclass(frozen=True)
class Unsubscribe:
    client: str
    filters: tuple[str, ...]


@dataclass(frozen=True)
class Publish:
    client: str
    topic: str
    qos: int = 0
    retain: bool = False
    empty: bool = False
    again: bool = False
    """At QoS 2: PUBLISH comes twice before PUBREL."""
    properties: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Answer:
    """Acknowledge what was not acknowledged yet: one packet for each message."""

    client: str


@dataclass(frozen=True)
class Disconnect:
    client: str
    with_will: bool = False
    """5.0."""
    forget: bool = False
    """5.0: the session ends now, whatever its expiry interval was."""


@dataclass(frozen=True)
class Cut:
    client: str


Step = Connect | Subscribe | Unsubscribe | Publish | Answer | Disconnect | Cut


@dataclass
class Actor:
    """One client. ``name`` is its client identifier."""

    name: str
    version: int
    connection: Raw | None = None
    has_will: bool = False
    answers: bool = True
    owed: list[Packet] = field(default_factory=list)
    heard: list[Packet] = field(default_factory=list)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    flags: dict[str, int] = field(default_factory=dict)

    @property
    def there(self) -> Raw:
        assert self.connection is not None
        return self.connection

    def options(self, topic_filter: str, options: int) -> int:
        """Of 3.1.1 the QoS alone; of 5.0 No Local and Retain As Published as they were the first time."""  # 5
        if self.version == 4:
            return options & 0x03
        return options & ~0x0C | self.flags.setdefault(topic_filter, options & 0x0C)

    def take(self, packets: list[Packet]) -> None:
        self.heard += packets
        self.owed += [each for each in packets if each.kind == "PUBREL" or (each.kind == "PUBLISH" and each.qos)]

    def settle(self) -> None:
        """Hear all that is on its way, and acknowledge it where the client does."""
        while True:
            self.there.say(raw.PINGREQ)
            *heard, _ = self.there.until("PINGRESP")
            self.take(heard)
            if not (self.answers and self.owed):
                return
            self.answer()

    def answer(self) -> None:
        owed, self.owed = self.owed, []
        for each in owed:
            first = 0x70 if each.kind == "PUBREL" else {1: 0x40, 2: 0x50}[each.qos]
            self.there.say(raw.acknowledgement(first, each.id))

    def lose(self, last: list[Packet]) -> None:
        """The connection is over; ``last`` is what it said."""
        self.heard += last
        self.there.close()
        self.connection = None
        self.owed = []
        self.has_will = False


class Stage:
    """Plays on the server at ``port``. ``prefix`` keeps this conversation's topics and clients apart from others'."""

    def __init__(self, port: int, prefix: str, versions: dict[str, int]) -> None:
        self._port = port
        self._prefix = prefix
        self._actors = {name: Actor(name, version) for name, version in versions.items()}
        self._number = itertools.count(1)

    def play(self, steps: list[Step]) -> list[Heard]:
        try:
            return [self._play(step) for step in steps]
        finally:
            self._leave()

    def _play(self, step: Step) -> Heard:
        actor = self._actors[step.client]
        if isinstance(step, Connect) or actor.connection is not None:
            _DO[type(step)](self, actor, step)
        actors = [actor, *(each for each in self._actors.values() if each is not actor)]
        for each in actors:
            if each.connection is not None:
                each.settle()
        heard = {each.name: each.heard for each in actors}
        for each in actors:
            each.heard = []
        return heard

    def _leave(self) -> None:
        """Every session ends."""
        for actor in self._actors.values():
            if actor.connection is not None:
                actor.connection.close()
            last = Raw(self._port, actor.version)
            last.say(raw.connect(actor.version, self._prefix + actor.name))
            last.until("CONNACK")
            last.say(raw.disconnect(actor.version))
            last.until("")
            last.close()

    def _topic(self, topic: str) -> str:
        return f"{self._prefix}/{topic}"

    # The steps.

    def _connect(self, actor: Actor, step: Connect) -> None:
        before, version = actor.connection, actor.version
        if before is not None and actor.has_will:  # 6
            self._cut(actor, step)
            before = None
        actor.connection = connection = Raw(self._port, version)
        will = (self._topic(step.will[0]), b"will %d" % next(self._number), *step.will[1:]) if step.will else None
        properties = {"SessionExpiryInterval": step.expiry} if step.expiry else {}
        name = self._prefix + actor.name
        connection.say(raw.connect(version, name, clean=step.clean, will=will, properties=properties))
        if before is not None:
            actor.heard += before.until("")
            before.close()
        actor.owed, actor.answers, actor.has_will = [], step.answers, step.will is not None
        actor.take(connection.until("CONNACK"))

    def _subscribe(self, actor: Actor, step: Subscribe) -> None:
        filters = [
            (self._topic(topic_filter), actor.options(topic_filter, options)) for topic_filter, options in step.filters
        ]
        properties = {"SubscriptionIdentifier": step.identifier} if step.identifier else {}
        actor.there.say(raw.subscribe(actor.version, next(actor.ids), filters, properties))

    def _unsubscribe(self, actor: Actor, step: Unsubscribe) -> None:
        actor.there.say(raw.unsubscribe(actor.version, next(actor.ids), list(map(self._topic, step.filters))))

    def _publish(self, actor: Actor, step: Publish) -> None:
        payload = b"" if step.empty else b"%d" % next(self._number)
        packet_id, connection = next(actor.ids), actor.there

        def said(*, dup: bool) -> bytes:
            fields = actor.version, self._topic(step.topic), payload, step.qos, packet_id
            return raw.publish(*fields, retain=step.retain, dup=dup, properties=dict(step.properties))

        connection.say(said(dup=False))
        if step.qos == 1:
            actor.take(connection.until("PUBACK"))
        elif step.qos == 2:  # all of the exchange: 7
            actor.take(connection.until("PUBREC"))
            if step.again:
                connection.say(said(dup=True))
                actor.take(connection.until("PUBREC"))
            connection.say(raw.acknowledgement(0x62, packet_id))
            actor.take(connection.until("PUBCOMP"))

    def _answer(self, actor: Actor, step: Answer) -> None:
        actor.answer()

    def _disconnect(self, actor: Actor, step: Disconnect) -> None:
        code = 4 if step.with_will else 0
        properties = {"SessionExpiryInterval": 0} if step.forget else {}
        actor.there.say(raw.disconnect(actor.version, code, properties))
        actor.lose(actor.there.until(""))

    def _cut(self, actor: Actor, step: Step) -> None:
        actor.lose(actor.there.cut())


_DO: dict[type, Callable[..., None]] = {
    Connect: Stage._connect,
    Subscribe: Stage._subscribe,
    Unsubscribe: Stage._unsubscribe,
    Publish: Stage._publish,
    Answer: Stage._answer,
    Disconnect: Stage._disconnect,
    Cut: Stage._cut,
}


# What is the same. The numbers are those of docs/mqtt-differences.md.

Comparable = dict[str, object]


def same(step: Step, heard: Heard) -> Comparable:
    """What the clients heard at one step, in the form in which two servers have to agree."""
    return {name: _same(step, packets) for name, packets in sorted(heard.items()) if packets}


def _same(step: Step, packets: list[Packet]) -> object:
    control = [_control(each) for each in packets if each.kind not in ("PUBLISH", "PUBREL") and not _is_parting(each)]
    topics: dict[str, dict[bytes, Packet]] = {}
    for each in packets:
        if each.kind == "PUBLISH":
            messages = topics.setdefault(each.topic, {})
            earlier = messages.get(each.payload)
            messages[each.payload] = _merged(earlier, each) if earlier else _free(each)
    if isinstance(step, Connect):
        topics = {
            topic: {payload: _missed(each) for payload, each in messages.items()} for topic, messages in topics.items()
        }
    releases = any(each.kind == "PUBREL" for each in packets)
    return control, {topic: list(messages.values()) for topic, messages in sorted(topics.items())}, releases


def _is_parting(packet: Packet) -> bool:
    """Somebody took it over."""  # 4
    return packet.kind == "DISCONNECT" and packet.codes == (0x8E,)


_LIMITS = {"ServerKeepAlive", "TopicAliasMaximum", "ReceiveMaximum", "MaximumPacketSize"}


def _control(packet: Packet) -> Packet:
    codes = packet.codes
    if packet.kind in ("PUBACK", "PUBREC") and codes == (0x10,):  # 2
        codes = (0,)
    properties = tuple(each for each in packet.properties if packet.kind != "CONNACK" or each[0] not in _LIMITS)  # 1
    return dataclasses.replace(packet, codes=codes, properties=properties, id=_own(packet))


def _own(packet: Packet) -> int:
    """The identifier, where it is the client's."""
    return packet.id if packet.kind in ("SUBACK", "UNSUBACK", "PUBACK", "PUBREC", "PUBCOMP") else 0


def _free(packet: Packet) -> Packet:
    """Without its packet identifier, and without how much of its life is left, to the second."""
    properties = dict(packet.properties)
    if "MessageExpiryInterval" in properties:
        properties["MessageExpiryInterval"] = "some"
    return _with(packet, properties)


def _with(packet: Packet, properties: dict[str, Any]) -> Packet:
    """The order of subscription identifiers is nobody's business."""
    if "SubscriptionIdentifier" in properties:
        properties["SubscriptionIdentifier"] = sorted(properties["SubscriptionIdentifier"])
    return dataclasses.replace(packet, id=0, properties=tuple(sorted(properties.items())))


def _merged(one: Packet, other: Packet) -> Packet:
    """Copies of a message for several filters as one."""  # 3
    mine, theirs = dict(one.properties), dict(_free(other).properties)
    identifiers = [*mine.pop("SubscriptionIdentifier", ()), *theirs.pop("SubscriptionIdentifier", ())]
    more = {"SubscriptionIdentifier": identifiers} if identifiers else {}
    flags = {"retain": one.retain or other.retain, "dup": one.dup or other.dup}
    return dataclasses.replace(_with(one, mine | theirs | more), qos=max(one.qos, other.qos), **flags)


def _missed(packet: Packet) -> Packet:
    """Of copies that came while the client was away those at QoS 0 are lost, and with them what only they said."""  # 3
    properties = dict(packet.properties)
    properties.pop("SubscriptionIdentifier", None)
    return dataclasses.replace(_with(packet, properties), retain=False)
