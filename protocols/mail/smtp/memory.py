"""What all messages of a server may hold at one time, so that many big ones cannot exhaust the machine."""


class Memory:
    """Bytes to share out."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def space(self) -> "Space":
        return Space(self)


class Space:
    """The bytes of one message."""

    def __init__(self, memory: Memory) -> None:
        self.refused = False
        """Whether there was not enough once; the message cannot be whole then."""
        self._memory = memory
        self._held = 0

    def hold(self, size: int) -> bool:
        """Hold ``size`` bytes in all instead of what it held. False: there are not so many, and it holds none."""
        self._memory.left += self._held - size
        self._held = size
        if self._memory.left >= 0:
            return True
        self.refused = True
        self.release()
        return False

    def release(self) -> None:
        """Hold nothing more. Idempotent."""
        self._memory.left += self._held
        self._held = 0
