"""What a client writes is read as our server reads it; what a server writes, as our client does."""

from typing import Any

import pytest

from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire import packets
from protocols.mqtt.wire.packets import Connack, Disconnect, Pingreq, Pingresp, Puback, Suback, Unsuback
from protocols.mqtt.wire.parser import Parser
from protocols.mqtt.wire.server_decoders import FROM_SERVER


def from_server(version: int, data: bytes) -> Any:
    [packet] = Parser(2**16, FROM_SERVER, version).feed(data)
    return packet


def from_client(version: int, data: bytes) -> Any:
    parser = Parser(2**16)
    parser.feed(packets.connect(version, "c", clean=True, keepalive=0))
    [packet] = parser.feed(data)
    return packet


@pytest.mark.parametrize("version", [4, 5])
def test_connect(version: int) -> None:
    properties = {"session_expiry_interval": 60, "receive_maximum": 8}
    data = packets.connect(
        version, "plänt", clean=False, keepalive=60, username="ann", password=b"\0", properties=properties
    )
    [connect] = Parser(2**16).feed(data)
    assert isinstance(connect, packets.Connect)
    assert connect == (
        *(version, "plänt", False, 60, "ann", b"\0", None),
        properties if version == 5 else {},
    )


@pytest.mark.parametrize("version", [4, 5])
def test_what_a_client_asks(version: int) -> None:
    subscribe = from_client(version, packets.subscribe(version, 7, [("a/#", 1), ("é", 2)]))
    assert (subscribe.id, [(text, options.qos) for text, options in subscribe.filters]) == (7, [("a/#", 1), ("é", 2)])
    assert from_client(version, packets.unsubscribe(version, 8, ["a/#", "é"]))[:2] == (8, ["a/#", "é"])
    assert from_client(version, packets.PINGREQ) == Pingreq()
    assert from_client(version, packets.disconnect(0)) == Disconnect(0, {})


@pytest.mark.parametrize("version", [4, 5])
def test_what_a_server_answers(version: int) -> None:
    assert from_server(version, packets.connack(version, 0, True)) == Connack(True, 0, {})
    assert from_server(version, packets.suback(version, 7, [0, 1, 0x80])) == Suback(7, b"\0\1\x80", {})
    codes = b"\0\x11" if version == 5 else b""
    assert from_server(version, packets.unsuback(version, 7, [0, 0x11])) == Unsuback(7, codes, {})
    assert from_server(version, packets.PINGRESP) == Pingresp()
    assert from_server(version, packets.puback(version, 9)) == Puback(9, 0, {})


def test_what_a_server_of_mqtt_5_says() -> None:
    properties = {"receive_maximum": 9, "maximum_qos": 1}
    assert from_server(5, packets.connack(5, 0, properties=properties)) == Connack(False, 0, properties)
    assert from_server(5, b"\x20\2\0\1") == Connack(False, 1, {})
    assert from_server(5, packets.disconnect(0x8E)) == Disconnect(0x8E, {})
    assert from_server(5, packets.puback(5, 9, 0xEE)) == Puback(9, 0xEE, {})  # a code that MQTT does not have
    message = from_server(5, packets.publish(5, "t", b"x", 1, 9, properties={"subscription_identifier": [3]}))
    assert (message["id"], message["properties"]) == (9, {"subscription_identifier": [3]})


@pytest.mark.parametrize(
    ("version", "data", "rule"),
    [
        (4, b"\xe0\0", "DISCONNECT from a server"),
        (5, b"\x10\0", "CONNECT from a server"),
        (5, b"\x20\3\2\0\0", "CONNACK with reserved flags"),
        (5, b"\x90\3\0\1\0", "SUBACK without a reason code"),
        (4, b"\xb0\3\0\1\0", "bytes after its last field"),
        (5, b"\x91\0", "SUBACK with reserved flags"),
    ],
)
def test_what_a_server_may_not_say(version: int, data: bytes, rule: str) -> None:
    with pytest.raises(RemoteProtocolError, match=rule):
        from_server(version, data)
