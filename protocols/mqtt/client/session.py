"""Our half of a session with a broker: what QoS 2 has to know of earlier connections (4.1, 4.3.3). Pure.

With a journal it outlives the process too. Its records:

============  ====================================================================================
key           value
============  ====================================================================================
``session``   whose session the others belong to: the broker's address and our client id
``in <id>``   a message that is handled: the reason code of its PUBREC, and its digest; one that
              the application has: a code that PUBREC never has, its digest, and its event id
``out <id>``  a publication that is not released
============  ====================================================================================
"""

from collections.abc import Mapping
from hashlib import blake2b

from protocols.event_id import new_id
from protocols.mqtt.broker.journal import Journal
from protocols.mqtt.qos import FREE, WAIT_PUBREL

DIGEST = 8
"""Bytes."""
IN_HAND = 0xFF


class ClientSession:
    """Packet ids whose exchange is not over. It lives as long as the process, over all its connections."""

    def __init__(self, journal: Journal | None = None, identity: str = "") -> None:
        self.journal = journal
        self.handled: dict[int, int] = {}
        """Messages that the application is done with, and the reason code for their PUBREC. Until its PUBREL the broker
        may send one again, which is not a new message."""
        self._begun: dict[int, tuple[bytes, str]] = {}
        """Messages that the application has, or had when its connection or process ended: digest and event id."""
        self.unreleased: set[int] = set()
        """Messages that we have begun to publish. Until its PUBCOMP the broker takes a message with the same id for the
        same message."""
        self._identity = identity.encode()
        self._digests: dict[int, bytes] = {}
        """Digests of the messages that are handled."""
        self._earlier: set[int] = set()
        """Ids of messages that were handled before this connection."""
        self._inherited: bool | None = None
        self._cleared: set[int] = set()

    def restore(self, records: Mapping[str, bytes]) -> None:
        """Restore what an earlier process has kept, unless it had another session."""
        if records.get("session") == self._identity:
            for key, value in records.items():
                kind, _, number = key.partition(" ")
                if kind == "in" and value[0] == IN_HAND:
                    self._begun[int(number)] = value[1 : 1 + DIGEST], value[1 + DIGEST :].decode()
                elif kind == "in":
                    self.handled[int(number)], self._digests[int(number)] = value[0], value[1:]
                elif kind == "out":
                    self.unreleased.add(int(number))
        elif self.journal is not None:
            for key in records:
                self.journal.put(key, None)
            self.journal.put("session", self._identity)

    def begin(self, present: bool) -> None:
        """Begin a connection. CONNACK says whether the broker has kept our session (3.2.2.1.1)."""
        if not present:
            for id_ in list(self.handled):
                self.settle(id_)
            for id_ in list(self._begun):
                self.forget(id_)
            for id_ in list(self.unreleased):
                self.completed(id_)
        self._earlier = set(self.handled)
        # One that is there at our first connection is an earlier process's, whose ids we do not know.
        self._inherited = present and self._inherited is not False

    @property
    def is_new(self) -> bool:
        """Whether no broker has let this process in yet."""
        return self._inherited is None

    # What we receive.

    def digest(self, topic: str, payload: bytes) -> bytes:
        """The digest that identifies a message on a later connection, and with a journal also in a later process."""
        if self.journal is None:
            return hash((topic, payload)).to_bytes(DIGEST, "big", signed=True)
        digest = blake2b(topic.encode() + b"\0", digest_size=DIGEST)
        digest.update(payload)
        return digest.digest()

    def state(self, packet_id: int, digest: bytes, dup: bool) -> str:
        """The state of :data:`protocols.mqtt.qos.RECEIVER_2` when a PUBLISH comes: whether the application is done with
        it.

        On a later connection a repetition has the DUP flag (MQTT-3.3.1-1) and the same content. Anything else is
        another message: the broker may have forgotten the session, and the CONNACK that said so may have been lost; or
        a process that kept nothing went on with the session.
        """
        if packet_id not in self.handled:
            return FREE
        if packet_id in self._earlier and not (dup and self._digests[packet_id] == digest):
            self.settle(packet_id)
            return FREE
        return WAIT_PUBREL

    def take(self, journal: Journal, packet_id: int, digest: bytes, dup: bool) -> str:
        """Return the event id of a message that is to be handled: the one that it had when an earlier connection or
        process brought it, if this is its repetition."""
        known = self._begun.get(packet_id)
        if dup and known is not None and known[0] == digest:
            return known[1]
        event = new_id()
        self._begun[packet_id] = digest, event
        journal.put(f"in {packet_id}", bytes((IN_HAND,)) + digest + event.encode())
        return event

    def forget(self, packet_id: int) -> None:
        """Forget a message that the application has refused: the broker does not send it again."""
        if self._begun.pop(packet_id, None) is not None and self.journal is not None:
            self.journal.put(f"in {packet_id}", None)

    def handle(self, packet_id: int, code: int, digest: bytes) -> None:
        """Note that the application is done with a message."""
        self._begun.pop(packet_id, None)
        self.handled[packet_id], self._digests[packet_id] = code, digest
        if self.journal is not None:
            self.journal.put(f"in {packet_id}", bytes((code,)) + digest)

    def settle(self, packet_id: int) -> None:
        """Free an id, because the broker has released its message."""
        del self.handled[packet_id], self._digests[packet_id]
        self._earlier.discard(packet_id)
        if self.journal is not None:
            self.journal.put(f"in {packet_id}", None)

    # What we send.

    def published(self, packet_id: int) -> None:
        self.unreleased.add(packet_id)
        if self.journal is not None:
            self.journal.put(f"out {packet_id}", b"")

    def completed(self, packet_id: int) -> None:
        if packet_id in self.unreleased:
            self.unreleased.discard(packet_id)
            if self.journal is not None:
                self.journal.put(f"out {packet_id}", None)

    def is_doubtful(self, packet_id: int) -> bool:
        """Whether an earlier process may have left a message with this id unreleased. What it has kept need not be all:
        it may have run for a while without keeping anything."""
        return bool(self._inherited) and packet_id not in self._cleared

    def clear(self, packet_id: int) -> None:
        """Note that the broker knows no message with this id."""
        self._cleared.add(packet_id)
