"""The packet ids of what we send. Pure."""


class PacketIds:
    """1 to 65,535, each in use until it is freed. Those that were in use are used again first: after a restart, each id
    that is used for the first time has to be cleared at the broker."""

    __slots__ = ("_free", "_in_use", "_last")

    def __init__(self) -> None:
        self._in_use: set[int] = set()
        self._free: list[int] = []
        self._last = 0

    def reserve(self) -> int:
        """One that is not in use (MQTT-2.2.1-3)."""
        if self._free:
            packet_id = self._free.pop()
        else:
            packet_id = self._last + 1
            while packet_id in self._in_use:
                packet_id += 1
            self._last = packet_id
        self._in_use.add(packet_id)
        return packet_id

    def hold(self, packet_id: int) -> None:
        """It is in use since an earlier connection."""
        self._in_use.add(packet_id)

    def free(self, packet_id: int) -> None:
        self._in_use.discard(packet_id)
        if packet_id <= self._last:
            self._free.append(packet_id)
