"""What a broker's reason codes say, in words."""

from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire.reasons import UNSUPPORTED_VERSION

_UNSUPPORTED_VERSION = (1, UNSUPPORTED_VERSION)

REASONS = {
    1: "it does not speak this version of MQTT",
    2: "it does not like the client id",
    3: "it is not available",
    4: "bad user name or password",
    5: "not authorized",
    0x80: "it gives no reason",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "an error of its own",
    0x84: "it does not speak this version of MQTT",
    0x85: "it does not like the client id",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "it is not available",
    0x89: "it is busy",
    0x8A: "banned",
    0x8B: "it is shutting down",
    0x8C: "bad authentication method",
    0x8D: "it had not heard from us in time",
    0x8E: "another client has taken over our client id",
    0x8F: "it does not like the topic filter",
    0x90: "it does not like the topic name",
    0x93: "we sent more than its receive maximum",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x98: "its operator has closed it",
    0x99: "the payload is not what its format says",
    0x9A: "it retains nothing",
    0x9B: "it does not take this QoS",
    0x9C: "use another server",
    0x9D: "the server has moved",
    0x9E: "it has no shared subscriptions",
    0x9F: "too many connections at a time",
    0xA1: "it has no subscription identifiers",
    0xA2: "it has no wildcard subscriptions",
}
"""CONNACK return codes of 3.1.1 and reason codes of 5.0 (section 2.4), as ends of a sentence about the broker."""


class Refused(RemoteProtocolError):
    """The broker said no; ``answer`` is its return or reason code."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"the broker refused {what}: {in_words(code)}", answer=code)
        self.is_version = code in _UNSUPPORTED_VERSION


def in_words(code: int) -> str:
    return REASONS.get(code, f"code 0x{code:02X}")
