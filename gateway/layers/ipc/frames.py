"""What is on the socket: a greeting with the version on both sides, then frames.

A frame is its length (4 bytes), its kind (1), the length of its topic (2), the topic, and the content. A relay passes a
published frame on as it came, and reads nothing of it but the topic.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from gateway.layers.bus import Topic

VERSION = 1
_BEGINNING = b"asgi-gateway-layer "
GREETING = _BEGINNING + b"%d\n" % VERSION
LONGEST_GREETING = 64
LARGEST = 5 * 1024 * 1024
"""Bytes of a frame."""
_HEAD = Struct(">IBH")
_LENGTH = 4


class Kind(IntEnum):
    SUBSCRIBE = 1
    UNSUBSCRIBE = 2
    PUBLISH = 3
    """To a topic: to all subscribers of a group, to one of a channel."""
    UNREAD = 4
    """From the relay: no process has subscribed to the channel to which this process has published."""
    PING = 5
    PONG = 6
    """Everything that came before the ping has been worked on."""


class Frame(NamedTuple):
    kind: int
    topic: bytes
    content: bytes
    whole: bytes
    """All its bytes."""


class BadFrame(ValueError):
    """The other side does not speak this protocol. One sentence says how that shows."""


class OtherVersion(BadFrame):
    """It speaks another version of it."""


def frame(kind: Kind, topic: bytes = b"", content: bytes = b"") -> bytes:
    return _HEAD.pack(_HEAD.size - _LENGTH + len(topic) + len(content), kind, len(topic)) + topic + content


def packed_topic(topic: Topic) -> bytes:
    """Raises ValueError for a name that is too long."""
    packed = (b"g" if topic.is_group else b"c") + topic.name.encode(errors="surrogatepass")
    if len(packed) > 0xFFFF:
        raise ValueError(f"the name of a group or channel has {len(packed)} bytes; it may have 65534")
    return packed


def unpacked_topic(packed: bytes) -> Topic:
    """Raises ValueError."""
    if packed[:1] not in (b"g", b"c"):
        raise BadFrame("a topic is neither a group nor a channel")
    return Topic(packed[:1] == b"g", packed[1:].decode(errors="surrogatepass"))


class FrameReader:
    """Cuts what arrives into frames. It holds one incomplete frame at most."""

    def __init__(self) -> None:
        self._rest = b""
        self.is_greeted = False
        """Whether the greeting of the other side has arrived."""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete. Raises BadFrame."""
        self._rest += data
        if not self.is_greeted and not self._takes_greeting():
            return
        data, start = self._rest, 0
        self._rest = b""
        while len(data) - start >= _HEAD.size:
            length, kind, topic = _HEAD.unpack_from(data, start)
            end = start + _LENGTH + length
            if length > LARGEST or _HEAD.size - _LENGTH + topic > length:
                raise BadFrame(f"a frame says that it has {length} bytes, {topic} of them its topic")
            if end > len(data):
                break
            body = start + _HEAD.size
            yield Frame(kind, data[body : body + topic], data[body + topic : end], data[start:end])
            start = end
        self._rest = data[start:]

    def _takes_greeting(self) -> bool:
        """Return whether the greeting is complete. Raises BadFrame."""
        line, end, rest = self._rest.partition(b"\n")
        if not line.startswith(_BEGINNING[: len(line)]) or len(line) > LONGEST_GREETING:
            raise BadFrame("it does not greet as a channel layer does")
        if not end:
            return False
        if line + end != GREETING:
            other = line.removeprefix(_BEGINNING).decode("ascii", "replace")
            raise OtherVersion(f"it speaks version {other[:20]} of the layer's protocol, and this process {VERSION}")
        self.is_greeted, self._rest = True, rest
        return True
