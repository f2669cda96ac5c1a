"""A message that is larger than we take, as it passes: its head is kept, the rest is let go. Pure."""

from protocols.asgi import MQTTReceiveEvent
from protocols.mqtt.wire.server_decoders import FROM_SERVER

HEAD = 128 * 1024
"""Bytes of it that are looked at, for its topic and its packet id; the topic alone may have 64 KiB."""


class Oversize:
    """A PUBLISH whose first byte is ``first``, with ``size`` bytes after its fixed header."""

    def __init__(self, first: int, size: int, version: int) -> None:
        self.size = size
        self._first = first
        self._version = version
        self._left = size
        self._head = bytearray()

    @property
    def has_passed(self) -> bool:
        return not self._left

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to it; returns the rest."""
        taken = data[: self._left]
        self._left -= len(taken)
        self._head += taken[: max(0, HEAD - len(self._head))]
        return data[len(taken) :]

    def message(self) -> MQTTReceiveEvent:
        """The message, with as much of its payload as was kept. Raises RemoteProtocolError."""
        decode = FROM_SERVER.tables[self._version][self._first]
        assert decode is not None
        message = decode(bytes(self._head), self._first, 0, len(self._head))
        assert isinstance(message, dict)
        return message
