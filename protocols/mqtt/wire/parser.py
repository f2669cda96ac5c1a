"""Bytes of one peer, a client or a server -> its control packets, 3.1.1 and 5.0. Pure.

A rule that is broken is named by its statement or section: 3.1.1's, and 5.0's where that has another number.
"""

from protocols.errors import RemoteProtocolError
from protocols.mqtt.wire.decoders import FROM_CLIENT, Decoders, read_version
from protocols.mqtt.wire.fields import Fields, overlong
from protocols.mqtt.wire.packets import Packet
from protocols.mqtt.wire.reasons import MALFORMED, TOO_LARGE

BATCH = 64
"""Packets that one call of :meth:`Parser.feed` returns at most, so that its caller can stop in between."""


class Parser:
    """Bytes of one peer -> its packets, whatever way the bytes are cut.

    ``max_packet`` bounds the remaining length (bytes) of a packet, and with it what is kept while one is incomplete.
    ``decoders`` are those of a client's packets or of a server's; the ``version`` of a client is learned from its
    CONNECT.
    """

    __slots__ = ("_at", "_buffer", "_decoders", "_max", "_need", "_tail", "version")

    def __init__(self, max_packet: int, decoders: Decoders = FROM_CLIENT, version: int = 0) -> None:
        self.version = version
        """The protocol level, 4 or 5, that a complete CONNECT named, even if the rest of it was broken; 0 before."""
        self._decoders = decoders
        self._max = max_packet
        self._buffer = b""
        self._at = 0
        # What came after _buffer, and how long both must be for the next packet: a packet that dribbles in is joined
        # once, when it is complete.
        self._tail = bytearray()
        self._need = 0

    @property
    def waiting(self) -> int:
        """Bytes that were fed and are not parsed yet."""
        return len(self._buffer) - self._at + len(self._tail)

    def append(self, data: bytes) -> None:
        """Keep ``data`` for a later :meth:`feed`."""
        if self._at == len(self._buffer) and not self._tail:
            self._buffer, self._at = data, 0
        else:
            self._tail += data

    def pass_over(self) -> tuple[int, int, bytes]:
        """Give up a packet after the answer TOO_LARGE. Return its first byte, the length after its fixed header, and
        the bytes of it and of later packets so far, which the caller has to take care of."""
        data = self._buffer[self._at :] + self._tail
        self._buffer, self._at, self._tail = b"", 0, bytearray()
        length, body = _remaining_length(data, 1, len(data), self.version)
        return data[0], length, data[body:]

    def feed(self, data: bytes = b"", most: int = BATCH) -> list[Packet]:
        """The next complete packets, ``most`` at most: call it without ``data`` until the list is empty.

        Raises RemoteProtocolError at the first packet that breaks the rules, after those before it were returned. Its
        answer is a reason code; or, for a protocol level that is not served, the CONNACK in that level's own format.
        """
        if data:
            self.append(data)
        if self._tail:
            if self.waiting < self._need:
                return []
            self._buffer, self._at = self._buffer[self._at :] + self._tail, 0
            self._tail = bytearray()
        packets: list[Packet] = []
        try:
            if not self.version:
                self._learn_version()
            self._parse(packets, most if self.version else min(most, 1))
        except RemoteProtocolError:
            if not packets:
                raise
        return packets

    def _learn_version(self) -> None:
        """Learn the version if the next packet is a complete CONNECT, which says how it and all that follows is to be
        read."""
        buffer, at, end = self._buffer, self._at, len(self._buffer)
        if buffer[at : at + 1] != b"\x10":
            return
        length, body = _remaining_length(buffer, at + 1, end, self.version)
        if length <= self._max and body + length <= end:
            self.version = read_version(Fields("CONNECT", buffer, body, body + length))

    def _parse(self, packets: list[Packet], most: int) -> None:
        buffer, at, end, decoders = self._buffer, self._at, len(self._buffer), self._decoders.tables[self.version]
        append, longest, need = packets.append, self._max, 2
        try:
            for _ in range(most):
                if end - at < 2:
                    break
                first, length, body = buffer[at], buffer[at + 1], at + 2
                decode = decoders[first] or self._decoders.illegal(first, self.version)
                if length > 127:
                    length, body = _remaining_length(buffer, at + 1, end, self.version)
                stop = body + length
                if length > longest:
                    raise RemoteProtocolError(f"a packet of {length} bytes; the limit is {longest}", answer=TOO_LARGE)
                if stop > end:
                    need = stop - at
                    break
                append(decode(buffer, first, body, stop))
                at = stop
        finally:
            self._at = at
        if end - at < need:  # incomplete: let go of the chunk that its first bytes came in
            self._buffer, self._at, self._need = buffer[at:], 0, need


def _remaining_length(buffer: bytes, at: int, end: int, version: int) -> tuple[int, int]:
    """The remaining length (2.2.3, 5.0: 1.5.5) and where it ends; one byte more than there is where it is incomplete.

    Only 5.0 demands the shortest form.
    """
    length = shift = 0
    for position in range(at, min(at + 4, end)):
        length |= (buffer[position] & 0x7F) << shift
        shift += 7
        if buffer[position] < 0x80:
            if version == 5 and shift > 7 and not buffer[position]:
                raise overlong("a packet")
            return length, position + 1
    if shift == 28:
        raise RemoteProtocolError("a remaining length of more than four bytes [2.2.3]", answer=MALFORMED)
    return 0, end + 1
