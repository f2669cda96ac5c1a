"""Frames of HTTP/2 (RFC 9113) as an attacker writes them: libraries refuse most of this."""

Fields = list[tuple[bytes, bytes]]
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS = 0, 1, 3, 4
_END_STREAM, _END_HEADERS = 1, 4
_SHORT = 127


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def opening() -> bytes:
    """The preface and an empty SETTINGS."""
    return _PREFACE + _frame(_SETTINGS, 0, 0, b"")


def _text(value: bytes) -> bytes:
    """A string of HPACK without Huffman's code (RFC 7541, 5.2)."""
    if len(value) < _SHORT:
        return bytes([len(value)]) + value
    size, left = bytearray([_SHORT]), len(value) - _SHORT
    while left > _SHORT:
        size.append(left % 128 + 128)
        left //= 128
    return bytes(size) + bytes([left]) + value


def headers(
    stream: int,
    method: bytes,
    path: bytes,
    fields: Fields,
    *,
    end: bool,
    authority: bytes = b"a",
    scheme: bytes = b"http",
    pseudo: bool = True,
) -> bytes:
    """A HEADERS frame: each field a literal, never indexed (RFC 7541, 6.2.3)."""
    own = [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)] if pseudo else []
    block = b"".join(b"\x10" + _text(name) + _text(value) for name, value in [*own, *fields])
    return _frame(_HEADERS, _END_HEADERS | (_END_STREAM if end else 0), stream, block)


def data(stream: int, payload: bytes, *, end: bool = True) -> bytes:
    return _frame(_DATA, _END_STREAM if end else 0, stream, payload)


def reset(stream: int) -> bytes:
    return _frame(_RST_STREAM, 0, stream, (8).to_bytes(4))
