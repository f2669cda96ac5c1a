"""A limit on the bytes that many hold together, so that many large messages cannot exhaust the machine. Pure."""


class ByteBudget:
    """``limit`` bytes to share out."""

    __slots__ = ("limit", "refused", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.refused = 0
        """How often there was not enough left."""

    def take(self, size: int) -> bool:
        """Take ``size`` bytes if that many are left; return whether they were."""
        if self.used + size > self.limit:
            self.refused += 1
            return False
        self.used += size
        return True

    def give(self, size: int) -> None:
        """Give ``size`` bytes back."""
        self.used -= size


class Reservation:
    """The bytes of one message in a budget, while the message grows."""

    __slots__ = ("_budget", "_size", "refused")

    def __init__(self, budget: ByteBudget) -> None:
        self.refused = False
        """Whether the budget was once too small; then the message cannot be complete."""
        self._budget = budget
        self._size = 0

    def resize(self, size: int) -> bool:
        """Hold ``size`` bytes in all. If there are not so many, hold none and return False."""
        if self._budget.take(size - self._size):
            self._size = size
            return True
        self.refused = True
        self.release()
        return False

    def release(self) -> None:
        """Hold no bytes. Idempotent."""
        self._budget.give(self._size)
        self._size = 0
