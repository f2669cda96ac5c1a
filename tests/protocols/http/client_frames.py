"""Frames as a client of a WebSocket sends them, also wrong ones."""

import os


def client_frame(first: int, payload: bytes = b"", *, mask: bytes | None = None, length: int = 0) -> bytes:
    """One frame; ``first`` is its first byte. ``length`` is the number of bytes of its length beside the second byte
    (0: as few as possible)."""
    size = len(payload)
    length = length or (0 if size < 126 else 2 if size < 65536 else 8)
    flag = {0: size, 2: 126, 8: 127}[length]
    mask = os.urandom(4) if mask is None else mask
    masked = bytes(byte ^ mask[n & 3] for n, byte in enumerate(payload))
    return bytes([first, 0x80 | flag]) + size.to_bytes(8)[8 - length :] + mask + masked


def unmasked(frame: bytes) -> bytes:
    """The frame without its mask, whose mask was zeros."""
    second = frame[1] & 0x7F
    start = 2 + {126: 2, 127: 8}.get(second, 0)
    return frame[:1] + bytes([second]) + frame[2:start] + frame[start + 4 :]
