"""The sessions of one server, who has subscribed to what, and what is retained. Pure."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from protocols.errors import LocalProtocolError
from protocols.mqtt.session import Message, Outlet, Session
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.topics import Retained, Subscriptions, valid_name

logger = logging.getLogger(__name__)

REFUSED = 0x80
"""SUBACK: this filter was not subscribed to."""


class Broker:
    """Takes messages from connections and the application, and hands them to the sessions that subscribed."""

    def __init__(self, settings: MQTTSettings) -> None:
        self._settings = settings
        self._present: dict[str, Session] = {}
        self._away: dict[str, Session] = {}  # in the order in which they left
        self._subscriptions: Subscriptions[Session] = Subscriptions()
        self._retained: Retained[Message] = Retained(settings.max_retained)
        self.matches = self._subscriptions.matches
        self.unretained = 0
        """Messages that were not retained for want of room."""

    def kept(self, client_id: str) -> bool:
        """Whether a client that came now, with clean session 0, would find its session."""
        session = self._away.get(client_id) or self._present.get(client_id)
        return session is not None and not session.clean

    def open(self, fresh: Session, outlet: Outlet) -> tuple[Session, bool]:
        """The client is accepted: the session to go on with, and whether it was there before (3.1.2.4).

        That is the kept one where there is one and the client did not ask for a clean session, or else ``fresh``. A
        connection that has the same client identifier is closed. The caller says CONNACK, then ``session.resume``.
        """
        client_id = fresh.client_id
        present = self._present.get(client_id)
        if present is not None and present.outlet is not None:
            present.outlet.taken_over()  # which calls close()
        kept = self._away.pop(client_id, None)
        if kept is not None and fresh.clean:
            self._forget(kept)
            kept = None
        session = kept or fresh
        session.outlet = outlet
        self._present[client_id] = session
        return session, kept is not None

    def close(self, session: Session) -> None:
        """The client's connection is over."""
        session.outlet = None
        del self._present[session.client_id]
        if session.clean:
            self._forget(session)
            return
        self._away[session.client_id] = session
        if len(self._away) > self._settings.max_sessions:
            self._forget(self._away.pop(next(iter(self._away))))

    def _forget(self, session: Session) -> None:
        for topic_filter in session.filters:
            self._subscriptions.remove(topic_filter, session)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, properties: dict[str, Any]) -> None:
        """Deliver to every subscriber, now; retain where asked to."""
        subscribers = self.matches[topic]
        if subscribers:
            message = Message(topic, payload, qos, retain=False, properties=properties)
            for session, granted in subscribers:
                session.deliver(message, granted)
        if retain:
            self._retain(Message(topic, payload, qos, retain=True, properties=properties))

    def send(self, event: Mapping[str, Any]) -> None:
        """Publish what an application sent (``mqtt.send``). Raises LocalProtocolError."""
        topic, payload, qos = event["topic"], event["payload"], event.get("qos", 0)
        if not isinstance(topic, str) or not valid_name(topic):
            raise LocalProtocolError(f"mqtt.send: {topic!r} is no topic name")
        if not isinstance(payload, bytes | bytearray | memoryview):
            raise LocalProtocolError(f"mqtt.send: payload must be bytes, not {type(payload).__name__}")
        if qos not in (0, 1):
            raise LocalProtocolError(f"mqtt.send: QoS {qos!r} is not served; 0 and 1 are")
        self.publish(topic, bytes(payload), qos, bool(event.get("retain", False)), event.get("properties", {}))

    def _retain(self, message: Message) -> None:
        if not message.payload:  # an empty one removes (MQTT-3.3.1-10)
            self._retained.remove(message.topic)
        elif not self._retained.set(message.topic, message, message.size):
            self.unretained += 1
            if not self.unretained & (self.unretained - 1):  # the first, the second, the fourth ...: a line each
                logger.warning("retained messages are full (max_retained): %d not retained", self.unretained)

    def subscribe(self, session: Session, filters: Sequence[tuple[str | None, int]]) -> list[int]:
        """The SUBACK's return codes: the QoS granted, 1 at most, or 0x80."""
        return [self._subscribe(session, topic_filter, qos) for topic_filter, qos in filters]

    def _subscribe(self, session: Session, topic_filter: str | None, qos: int) -> int:
        new = topic_filter not in session.filters
        if topic_filter is None or (new and len(session.filters) >= self._settings.max_subscriptions):
            return REFUSED
        session.filters.add(topic_filter)
        granted = min(qos, 1)
        self._subscriptions.add(topic_filter, session, granted)
        return granted

    def replay(self, session: Session, topic_filter: str, qos: int) -> None:
        """Deliver what is retained under a new subscription, or one that is made again (MQTT-3.8.4-3)."""
        for message in self._retained.match(topic_filter):
            session.deliver(message, qos)

    def unsubscribe(self, session: Session, filters: Sequence[str]) -> None:
        for topic_filter in filters:
            session.filters.discard(topic_filter)
            self._subscriptions.remove(topic_filter, session)
