"""The sessions of one server, who has subscribed to what, and what is retained. Pure; ``clock`` gives Unix time."""

import heapq
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from protocols.errors import LocalProtocolError
from protocols.mqtt import reasons, record
from protocols.mqtt.journal import Journal
from protocols.mqtt.message import Message
from protocols.mqtt.packets import Options
from protocols.mqtt.properties import encode
from protocols.mqtt.session import Inbound, Outbound, Outlet, Session, Will
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.share import Share
from protocols.mqtt.topics import Grant, Retained, Subscriptions, split_share, valid_name

logger = logging.getLogger(__name__)

NEVER = float("inf")


class Broker:
    """Takes messages from connections and the application, and hands them to the sessions that subscribed."""

    def __init__(
        self, settings: MQTTSettings, *, journal: Journal | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self.journal = journal
        self.sessions: dict[str, Session] = {}
        """By client identifier, whether the client is there or away."""
        self._settings = settings
        self._away: dict[str, Session] = {}  # in the order in which they left
        self._subscriptions: Subscriptions[Session | Share] = Subscriptions()
        self._shares: dict[str, Share] = {}
        self._retained: Retained[Message] = Retained(settings.max_retained)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.matches = self._subscriptions.matches
        self.unretained = 0
        """Messages that were not retained for want of room."""

    @property
    def subscriptions(self) -> int:
        return self._subscriptions.count

    @property
    def retained(self) -> int:
        return len(self._retained)

    def kept(self, client_id: str) -> bool:
        """Whether a client that came now, and did not ask for a clean start, would find its session."""
        session = self.sessions.get(client_id)
        return session is not None and bool(session.expiry)

    # Sessions.

    def open(
        self, client_id: str, *, clean: bool, expiry: float, will: Will | None, outlet: Outlet
    ) -> tuple[Session, bool]:
        """The client is accepted: the session to go on with, and whether it was there before (3.1.2.4).

        A connection that has the same client identifier is closed. The caller says CONNACK, then ``session.resume``.
        """
        session = self.sessions.get(client_id)
        if session is not None and session.outlet is not None:
            session.outlet.taken_over()  # which calls close()
            session = self.sessions.get(client_id)
        if session is not None and clean:
            self._end(session)
            session = None
        present = session is not None
        if session is None:
            journal = self.journal if expiry else None
            session = self.sessions[client_id] = self._new(client_id, journal)
        self._away.pop(client_id, None)
        session.expiry, session.will, session.outlet = expiry, will, outlet
        session.save()
        return session, present

    def _new(self, client_id: str, journal: Journal | None) -> Session:
        return Session(client_id, settings=self._settings, clock=self.clock, journal=journal)

    def close(self, session: Session, *, with_will: bool, expiry: float | None = None) -> None:
        """The client's connection is over; ``expiry`` where it said another at its end."""
        session.outlet = None
        now = self.clock()
        if expiry is not None:
            session.expiry = expiry
        session.ends = now + session.expiry
        if session.will is not None and not with_will:
            session.will = None
        if session.will is not None:
            self._schedule_will(session, session.will, now)
        if not session.expiry:
            self._end(session)
            return
        session.save()
        self._leave(session)

    def _leave(self, session: Session) -> None:
        self._away[session.client_id] = session
        if session.ends != NEVER:
            self._at(session.ends, lambda: self._expire(session))
        if len(self._away) > self._settings.max_sessions:
            self._end(next(iter(self._away.values())))

    def _expire(self, session: Session) -> None:
        if session.outlet is None and session.ends <= self.clock() and self.sessions.get(session.client_id) is session:
            self._end(session)

    def _end(self, session: Session) -> None:
        """The session is over: its will, if it is still to come, is now published (3.1.3.2.2)."""
        self.sessions.pop(session.client_id, None)
        self._away.pop(session.client_id, None)
        for topic_filter in session.grants:
            self._remove(topic_filter, session)
        if session.will is not None:
            self._publish_will(session)
        for share, message in session.shared():
            share.deliver(message, _MEMBERS)
        session.forget()

    def _schedule_will(self, session: Session, will: Will, now: float) -> None:
        will.due = now + will.delay
        if will.delay:
            self._at(will.due, lambda: self._will_due(session, will))
        else:
            self._publish_will(session)

    def _will_due(self, session: Session, will: Will) -> None:
        if session.outlet is None and session.will is will:
            self._publish_will(session)
            session.save()

    def _publish_will(self, session: Session) -> None:
        will, session.will = session.will, None
        if will is not None:
            self.publish(will.message, session)

    # Time.

    def _at(self, due: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (due, next(self._order), call))

    def tick(self) -> None:
        """Do what is due: sessions, wills and retained messages whose time has come."""
        now = self.clock()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    # Messages.

    def publish(self, message: Message, origin: Session | None = None) -> None:
        """Deliver to every subscriber, now; retain where asked to."""
        for target, grant in self.matches[message.topic]:
            target.deliver(message, grant, origin)
        if message.retain:
            self._retain(message)

    def message(
        self, topic: str, payload: bytes, qos: int, *, retain: bool, properties: Mapping[str, Any] | None
    ) -> Message:
        life = properties.get("message_expiry_interval") if properties else None
        expires = None if life is None else self.clock() + life
        return Message(topic, payload, qos, retain=retain, properties=properties, expires=expires)

    def send(self, event: Mapping[str, Any]) -> None:
        """Publish what an application sent (``mqtt.send``). Raises LocalProtocolError."""
        topic, payload, qos = event["topic"], event["payload"], event.get("qos", 0)
        if not isinstance(topic, str) or not valid_name(topic):
            raise LocalProtocolError(f"mqtt.send: {topic!r} is no topic name")
        if not isinstance(payload, bytes | bytearray | memoryview):
            raise LocalProtocolError(f"mqtt.send: payload must be bytes, not {type(payload).__name__}")
        if qos not in (0, 1, 2):
            raise LocalProtocolError(f"mqtt.send: QoS {qos!r}; there are 0, 1 and 2")
        properties = event.get("properties") or None
        if properties:
            try:
                encode(properties, "PUBLISH")
            except ValueError as error:
                raise LocalProtocolError(f"mqtt.send: {error}") from error
        retain = bool(event.get("retain", False))
        self.publish(self.message(topic, bytes(payload), qos, retain=retain, properties=properties))

    def _retain(self, message: Message) -> None:
        key = record.retained_key(message.topic)
        if not message.payload:  # an empty one removes (MQTT-3.3.1-6)
            if self._retained.remove(message.topic) and self.journal is not None:
                self.journal.put(key, None)
        elif not self._retained.set(message.topic, message, message.size):
            self.unretained += 1
            if not self.unretained & (self.unretained - 1):  # the first, the second, the fourth ...: a line each
                logger.warning("retained messages are full (max_retained): %d not retained", self.unretained)
        else:
            if self.journal is not None:
                self.journal.put(key, record.message(message))
            self._expire_retained(message)

    def _expire_retained(self, message: Message) -> None:
        def expire() -> None:
            if self._retained.get(message.topic) is message:
                self._retained.remove(message.topic)
                if self.journal is not None:
                    self.journal.put(record.retained_key(message.topic), None)

        if message.expires is not None:
            self._at(message.expires, expire)

    # Subscriptions.

    def subscribe(self, session: Session, topic_filter: str, options: Options, identifiers: tuple[int, ...]) -> int:
        """The SUBACK's reason code: the QoS granted, or why it is not."""
        new = topic_filter not in session.grants
        if new and len(session.grants) >= self._settings.max_subscriptions:
            return reasons.QUOTA_EXCEEDED
        grant = Grant(options.qos, options.no_local, options.retain_as_published, identifiers)
        session.grants[topic_filter] = grant
        self._add(topic_filter, session, grant)
        return options.qos

    def _add(self, topic_filter: str, session: Session, grant: Grant) -> None:
        group, shared = split_share(topic_filter)
        if group is None:
            self._subscriptions.add(topic_filter, session, grant)
            return
        share = self._shares.get(topic_filter)
        if share is None:
            share = self._shares[topic_filter] = Share()
            self._subscriptions.add(shared, share, _MEMBERS)
        share.add(session, grant)

    def replay(self, session: Session, topic_filter: str) -> None:
        """Deliver what is retained under a subscription. Shared ones get nothing of it (4.8.2)."""
        if split_share(topic_filter)[0] is None:
            session.replay(self._replayed(topic_filter, session.grants[topic_filter]))

    def _replayed(self, topic_filter: str, grant: Grant) -> Iterator[tuple[Message, Grant]]:
        now = self.clock()
        found = [message for message in self._retained.match(topic_filter) if not message.expired(now)]
        return ((message, grant) for message in found)

    def unsubscribe(self, session: Session, topic_filter: str) -> int:
        """The UNSUBACK's reason code."""
        if session.grants.pop(topic_filter, None) is None:
            return reasons.NO_SUBSCRIPTION_EXISTED
        self._remove(topic_filter, session)
        return reasons.SUCCESS

    def _remove(self, topic_filter: str, session: Session) -> None:
        group, shared = split_share(topic_filter)
        if group is None:
            self._subscriptions.remove(topic_filter, session)
        elif (share := self._shares.get(topic_filter)) is not None:
            share.remove(session)
            if not share:
                del self._shares[topic_filter]
                self._subscriptions.remove(shared, share)

    # After a restart.

    def restore(self, kept: Mapping[str, bytes]) -> None:
        """Everything that a journal had. Raises ValueError for what cannot be read."""
        by_kind: dict[str, dict[str, bytes]] = {"session": {}, "message": {}, "out": {}, "in": {}, "retained": {}}
        for key, value in kept.items():
            kind, _, rest = key.partition(" ")
            by_kind[kind][rest] = value
        now = self.clock()
        for client_id, value in by_kind["session"].items():
            self._restore_session(client_id, value, now)
        for topic, value in by_kind["retained"].items():
            message = record.read_message(value)
            self._retained.set(topic, message, message.size)
            self._expire_retained(message)
        self._restore_outbound(by_kind["message"], by_kind["out"])
        for key, value in by_kind["in"].items():
            packet_id, _, client_id = key.partition(" ")
            if (session := self.sessions.get(client_id)) is not None:
                event, handled = record.read_inbound(value)
                session.inbound[int(packet_id)] = Inbound(event, handled=handled, idle=not handled)
        self.tick()

    def _restore_session(self, client_id: str, value: bytes, now: float) -> None:
        expiry, ends, grants, will = record.read_session(value)
        session = self.sessions[client_id] = self._new(client_id, self.journal)
        session.expiry = expiry
        session.ends = now + expiry if ends is None else ends
        session.grants = grants
        for topic_filter, grant in grants.items():
            self._add(topic_filter, session, grant)
        self._leave(session)
        if will is not None:
            message, delay, due = will
            session.will = kept = Will(message, delay)
            kept.due = due or now + delay
            self._at(kept.due, lambda: self._will_due(session, kept))

    def _restore_outbound(self, messages: Mapping[str, bytes], outbound: Mapping[str, bytes]) -> None:
        read: dict[int, Message] = {}
        for number in sorted(map(int, outbound)):
            client_id, of, qos, retain, identifiers, packet_id, released = record.read_outbound(outbound[str(number)])
            session, stored = self.sessions.get(client_id), messages.get(str(of))
            if session is None or stored is None:
                continue
            if of not in read:
                read[of] = record.read_message(stored)
                read[of].number = of
            out = Outbound(read[of], qos, retain=retain, identifiers=identifiers)
            out.number, out.packet_id, out.released = number, packet_id, released
            read[of].holders += 1
            session.restore(out)
        if self.journal is not None:
            self.journal.start_after(max([0, *map(int, outbound), *map(int, messages)]))


_MEMBERS = Grant(2)
"""A share's place among the subscribers."""
