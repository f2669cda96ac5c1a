"""How fast one client may publish. Pure: a token bucket that holds one second's worth."""


class Rate:
    """``limit``: messages a second, on average."""

    __slots__ = ("_at", "_limit", "_room")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = float(limit)
        self._at = 0.0

    def spend(self, count: int, now: float) -> float:
        """``count`` messages came at the time ``now`` (seconds): seconds to wait before the next."""
        self._room = min(self._limit, self._room + (now - self._at) * self._limit) - count
        self._at = now
        return max(0.0, -self._room / self._limit)
