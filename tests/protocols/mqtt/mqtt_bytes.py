"""Control packets of a client, byte by byte as the standards have them, and broken in any way that a test wants."""

VERSIONS = (4, 5)


def length(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes((value,))


def packet(first: int, *fields: bytes) -> bytes:
    body = b"".join(fields)
    return bytes((first,)) + length(len(body)) + body


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return short(len(raw)) + raw


def short(value: int) -> bytes:
    return value.to_bytes(2, "big")


def properties(*each: bytes) -> bytes:
    """Encoded ones, and their length before them."""
    body = b"".join(each)
    return length(len(body)) + body


def pair(name: str, value: str) -> bytes:
    """A user property."""
    return b"\x26" + string(name) + string(value)


def connect(version: int, flags: int, *fields: bytes, keepalive: int = 0, name: str = "MQTT") -> bytes:
    """``fields``: in 5.0 the properties first, then client identifier, will, user name, password."""
    return packet(0x10, string(name), bytes((version, flags)), short(keepalive), *fields)
