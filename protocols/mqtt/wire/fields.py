"""Data representation (section 1.5 of both versions): the fields that packets are made of. Pure."""

from typing import NoReturn

from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire.reasons import MALFORMED, PROTOCOL_ERROR

MAX_VARIABLE = 0x0FFF_FFFF
"""The largest Variable Byte Integer, and so the largest remaining length (5.0: 1.5.5; 3.1.1: 2.2.3)."""

# C0 and C1 control characters: U+0000 is forbidden (MQTT-1.5.3-2, 5.0: MQTT-1.5.4-2), the others "SHOULD NOT" be there
# and a receiver may close for them (1.5.3, 5.0: 1.5.4). No log line and no path can be split by a text that passed.
_CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))


class Fields:
    """The fields of one packet, from left to right, never past its end.

    Each method takes the next field; it raises RemoteProtocolError where the packet ends before the field does, or the
    field breaks a rule of its type.
    """

    __slots__ = ("at", "buffer", "kind", "stop")

    def __init__(self, kind: str, buffer: bytes, at: int, stop: int) -> None:
        self.kind, self.buffer, self.at, self.stop = kind, buffer, at, stop

    def take(self, length: int) -> bytes:
        at, self.at = self.at, self.at + length
        if self.at > self.stop:
            raise cut(self.kind)
        return self.buffer[at : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def packet_id(self) -> int:
        return self.short() or zero()

    def long(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def variable(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if not byte and shift:
                    raise overlong(self.kind)
                return value
        raise RemoteProtocolError(f"{self.kind} with an integer of more than four bytes [1.5.5]", answer=MALFORMED)

    def binary(self) -> bytes:
        return self.take(self.short())

    def text(self) -> str:
        return read_text(self.binary())

    def pair(self) -> tuple[str, str]:
        return self.text(), self.text()

    def more(self) -> bool:
        return self.at < self.stop

    def end(self) -> None:
        if self.more():
            raise RemoteProtocolError(f"{self.kind} with bytes after its last field [2.2.3]", answer=MALFORMED)


def read_text(raw: bytes) -> str:
    """The content of a UTF-8 string. Raises RemoteProtocolError."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("a string that is not UTF-8 [MQTT-1.5.3-1, 5.0: 1.5.4-1]", answer=MALFORMED) from None
    if has_control(text):
        raise RemoteProtocolError("a string with a control character [MQTT-1.5.3-2, 5.0: 1.5.4-2]", answer=MALFORMED)
    return text


def valid_text(text: object) -> bool:
    """Whether ``text`` may be written: what a peer may not send to us is not sent to it either."""
    if not isinstance(text, str) or has_control(text):
        return False
    try:
        return len(text.encode()) < 65536
    except UnicodeEncodeError:  # a lone surrogate
        return False


def has_control(text: str) -> bool:
    return not text.isprintable() and not _CONTROLS.isdisjoint(text)


def cut(kind: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{kind} that ends in the middle of a field [2.2.3]", answer=MALFORMED)


def zero() -> NoReturn:
    raise RemoteProtocolError("packet identifier 0 [MQTT-2.3.1-1, 5.0: 2.2.1-3]", answer=PROTOCOL_ERROR)


def overlong(kind: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"{kind} with an integer longer than it need be [MQTT-1.5.5-1]", answer=MALFORMED)


def string(text: str) -> bytes:
    return binary(text.encode())


def binary(raw: bytes) -> bytes:
    return len(raw).to_bytes(2, "big") + raw


def variable(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
