"""The broker's state as records of a journal: keys and values. Pure.

======================  ==========================================================
key                     value
======================  ==========================================================
``session <client id>`` life, subscriptions and will of a session
``message <number>``    a message that waits for at least one client
``out <number>``        the delivery of a message to a client, and its state
``in <id> <client id>`` an inbound message of QoS 2: its event id, whether handled
``retained <topic>``    a retained message
``will <client id>``    the will of a client that the server has disconnected, and that may come back
``login <user name>``   a record of a right password (:mod:`protocols.access.saved_login`)
======================  ==========================================================
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from protocols.mqtt import qos as exchange
from protocols.mqtt.broker.grant import Grant
from protocols.mqtt.broker.inbound import Inbound
from protocols.mqtt.broker.message import ApplicationMessage
from protocols.mqtt.broker.outbound import Outbound
from protocols.mqtt.broker.will import Will


def session_key(client_id: str) -> str:
    return f"session {client_id}"


def message_key(number: int) -> str:
    return f"message {number}"


def outbound_key(number: int) -> str:
    return f"out {number}"


def inbound_key(client_id: str, packet_id: int) -> str:
    return f"in {packet_id} {client_id}"


def retained_key(topic: str) -> str:
    return f"retained {topic}"


def left_will_key(client_id: str) -> str:
    return f"will {client_id}"


LOGIN = "login "
_RETAINED_AT = "retained_at"


def login_key(username: str) -> str:
    return f"{LOGIN}{username}"


def message(message: ApplicationMessage) -> bytes:
    fields = (message.topic, message.payload, message.qos, message.retain, message.properties, message.expires)
    return _pack(fields)


def read_message(data: bytes) -> ApplicationMessage:
    topic, payload, qos, retain, properties, expires = _unpack(data)
    if pairs := properties.get("user_property"):
        properties["user_property"] = [tuple(pair) for pair in pairs]
    return ApplicationMessage(topic, payload, qos, retain=retain, properties=properties, expires=expires)


def retained(message: ApplicationMessage) -> bytes:
    """A retained message with its time, which is among the properties: 0.1.0 ignores what it does not know there."""
    properties = {**message.properties, _RETAINED_AT: message.retained_at}
    return _pack((message.topic, message.payload, message.qos, message.retain, properties, message.expires))


def read_retained(data: bytes) -> ApplicationMessage:
    found = read_message(data)
    found.retained_at = _unpack(data)[4].get(_RETAINED_AT, 0.0)
    return found


def left_will(message_: ApplicationMessage, absence: float, user: str | None) -> bytes:
    return _pack((message(message_), absence, user))


def read_left_will(data: bytes) -> tuple[ApplicationMessage, float, str | None]:
    kept, absence, user = _unpack(data)
    return read_message(kept), absence, user


def outbound(client_id: str, out: Outbound) -> bytes:
    share = out.share.topic_filter if out.share is not None else ""
    released = out.state == exchange.WAIT_PUBCOMP
    return _pack((client_id, out.message.number, out.qos, out.retain, out.identifiers, out.packet_id, released, share))


class Kept(NamedTuple):
    """A stored delivery: a message waits for a client."""

    client_id: str
    message: int
    """The number of the message."""
    qos: int
    retain: bool
    identifiers: Sequence[int]
    packet_id: int
    released: bool
    share: str
    """The topic filter of the shared subscription by which the client gets the message, or empty."""


def read_outbound(data: bytes) -> Kept:
    return Kept(*_unpack(data))


def inbound(inbound: Inbound) -> bytes:
    return _pack((inbound.event, inbound.state == exchange.WAIT_PUBREL))


def read_inbound(data: bytes) -> tuple[str, bool]:
    event, handled = _unpack(data)
    return event, handled


def session(
    expiry: float,
    ends: float | None,
    grants: Mapping[str, Grant],
    will: Will | None,
    user: str | None,
    replays: Sequence[str] = (),
) -> bytes:
    """A session as a record; see :class:`KeptSession` for the fields."""
    pairs = {topic_filter: tuple(grant) for topic_filter, grant in grants.items()}
    fields = (expiry, ends, pairs, _will(will), user)
    return _pack((*fields, replays) if replays else fields)  # 0.1.0 reads five


class KeptSession(NamedTuple):
    """A stored session."""

    expiry: float
    ends: float | None
    """When it expires, in Unix time; None if its client was connected."""
    grants: dict[str, Grant]
    will: tuple[ApplicationMessage, float, float] | None
    """Message, delay, due."""
    user: str | None
    replays: Sequence[str]
    """Topic filters whose retained messages the client has not all received yet."""


def read_session(data: bytes) -> KeptSession:
    expiry, ends, grants, will, user, *replays = _unpack(data)
    read = {
        topic_filter: Grant(grant[0], grant[1], grant[2], tuple(grant[3])) for topic_filter, grant in grants.items()
    }
    kept_will = (read_message(will[0]), will[1], will[2]) if will else None
    return KeptSession(expiry, ends, read, kept_will, user, replays[0] if replays else ())


def _will(will: Will | None) -> tuple[bytes, float, float] | None:
    return (message(will.message), will.delay, will.due) if will else None


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, strict_map_key=False)
