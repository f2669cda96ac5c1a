"""Sessions and retained messages as an operator sees them. Pure."""

from collections.abc import Iterator
from typing import Any

from protocols.mqtt.broker.broker import Broker
from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.session import Session
from protocols.mqtt.broker.will import Will
from protocols.mqtt.wire.topics import overlap, split_share, valid_filter
from protocols.resources import Resource, shown


class SessionResource(Resource):
    """A session, whether its client is connected or away."""

    __slots__ = ("_broker", "_session")

    def __init__(self, broker: Broker, session: Session) -> None:
        self._broker = broker
        self._session = session

    @property
    def key(self) -> str:
        return self._session.client_id

    def facts(self) -> dict[str, Any]:
        session, outgoing = self._session, self._session.outgoing
        connected = outgoing is not None
        return {
            "client_id": session.client_id,
            "user": session.user,
            "connected": connected,
            "expiry": session.expiry,
            "expires": None if connected else session.ends,
            "persistent": session.journal is not None,
            **waiting(session),
            "dropped": session.dropped + (outgoing.dropped if outgoing is not None else 0),
        }

    def details(self, content: int) -> dict[str, Any]:
        return {**self.facts(), **session_details(self._session, content)}

    def receives(self, topic_filter: str) -> bool:
        return receives(self._session, topic_filter)

    def remove(self, *, with_will: bool = True) -> None:
        self._broker.delete(self._session, with_will=with_will)


class RetainedResource(Resource):
    """A retained message."""

    __slots__ = ("_broker", "_message")

    def __init__(self, broker: Broker, message: ApplicationMessage) -> None:
        self._broker = broker
        self._message = message

    @property
    def key(self) -> str:
        return self._message.topic

    def facts(self) -> dict[str, Any]:
        message = self._message
        return {
            "topic": message.topic,
            "size": len(message.payload),
            "qos": message.qos,
            "retained": message.retained_at or None,
            "expires": message.expires,
        }

    def details(self, content: int) -> dict[str, Any]:
        names = sorted(self._message.properties)
        return {**self.facts(), "properties": names, "payload": shown(self._message.payload, content)}

    def remove(self, *, with_will: bool = True) -> None:
        self._broker.retained.remove(self._message.topic)


def sessions(broker: Broker) -> Iterator[Resource]:
    """Yield the sessions that there are now."""
    return (SessionResource(broker, session) for session in list(broker.sessions.values()))


def retained(broker: Broker, topic_filter: str) -> Iterator[Resource | None]:
    """Yield the retained messages that a filter matches; None now and then while there is none. Raises ValueError."""
    if not valid_filter(topic_filter) or split_share(topic_filter)[0] is not None:
        raise ValueError(f"{topic_filter!r} is not a topic filter; write one such as sensors/# or sensors/+/status")
    return (
        None if message is None or message.expired(broker.clock()) else RetainedResource(broker, message)
        for message in broker.retained.match(topic_filter)
    )


def waiting(session: Session) -> dict[str, Any]:
    """Return how much there is for its client, and of its subscriptions."""
    return {
        "subscriptions": len(session.grants),
        "queued": session.queued,
        "queued_bytes": session.queued_bytes,
        "inflight": len(session.inflight),
    }


def session_details(session: Session, content: int) -> dict[str, Any]:
    """Return its subscriptions and its will, with ``content`` bytes of the will's payload at most."""
    return {
        "inbound": len(session.inbound),
        "retained_to_send": session.replays,
        "will": _will(session.will, content) if session.will is not None else None,
        "filters": [_subscription(topic_filter, grant) for topic_filter, grant in session.grants.items()],
    }


def receives(session: Session, topic_filter: str) -> bool:
    """Whether it has a subscription that may get a message whose topic the filter matches."""
    return any(overlap(split_share(each)[1], topic_filter) for each in session.grants)


def _subscription(topic_filter: str, grant: Grant) -> dict[str, Any]:
    return {
        "filter": topic_filter,
        "qos": grant.qos,
        "no_local": grant.no_local,
        "retain_as_published": grant.retain_as_published,
        "identifiers": list(grant.identifiers),
    }


def _will(will: Will, content: int) -> dict[str, Any]:
    message = will.message
    said = {"payload": shown(message.payload, content)} if content else {}
    size = len(message.payload)
    return {
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "delay": will.delay,
        "size": size,
        **said,
    }
