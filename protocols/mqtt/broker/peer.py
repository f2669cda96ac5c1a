"""The other end of a connection, as the pure core sees it: what it may do, how it is answered, how it says goodbye."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.mqtt.broker.outgoing import Outgoing
from protocols.mqtt.wire import reasons


class Rules(Protocol):
    """What one client may do."""

    def may_publish(self, topic: str) -> bool: ...
    def may_subscribe(self, topic_filter: str) -> bool: ...


class Goodbye(Exception):
    """The client said DISCONNECT, with this reason code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def broken(why: str, code: int = reasons.PROTOCOL_ERROR) -> RemoteProtocolError:
    """The client broke a rule; ``code`` is what it is told."""
    return RemoteProtocolError(why, answer=code)


def encoded(outgoing: Outgoing, encode: Callable[..., bytes], *fields: Any, properties: dict[str, Any]) -> bytes:
    """A packet; without what is for people where the client does not take it so long (MQTT-3.1.2-24).

    Raises LocalProtocolError for illegal properties.
    """
    data = _legal(encode, *fields, properties)
    if outgoing.max_packet and len(data) > outgoing.max_packet:
        data = _legal(encode, *fields, without_problems(properties))
    return data


def _legal(encode: Callable[..., bytes], *fields: Any) -> bytes:
    try:
        return encode(*fields)
    except ValueError as error:
        raise LocalProtocolError(str(error)) from error


def without_problems(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is for people, and may be left out (3.1.2.11.7)."""
    return {key: value for key, value in properties.items() if key not in ("reason_string", "user_property")}
