"""Bounds, for each minute, what a peer does that costs us more than the peer, or is of no use. Pure but for a clock."""

from collections.abc import Callable

_RESETS = 100
"""Streams that end by a premature RST_STREAM, or by a mistake of the peer, in a minute; one more for each answer."""
_CONTROL = 1000
"""Frames without content in a minute."""
_FOR_ANSWER = 4
"""More of them for each answer that was sent."""
_FOR_BYTES = 1024
"""One more for so many bytes of content: a peer reports that it has read."""
_MINUTE = 60.0


class Flooded(Exception):
    """The peer does too much of it. The message says of what."""


class Allowance:
    """Counters of one connection. The clock is read only at a limit."""

    __slots__ = ("_bytes", "_clock", "_control", "_resets", "_since", "answers")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()
        self._restart()

    def _restart(self) -> None:
        self._control = self._resets = self._bytes = 0
        self.answers = 0
        """Requests that were answered completely."""

    def moved(self, size: int) -> None:
        """Note ``size`` bytes of content, in either direction."""
        self._bytes += size

    def control(self, count: int = 1) -> None:
        """Count frames without content. Raises Flooded."""
        self._control += count
        if self._control > _CONTROL + _FOR_ANSWER * self.answers + self._bytes // _FOR_BYTES:
            self._begin_anew("it sends too many frames without content")

    def reset(self) -> None:
        """Count a stream that a mistake of the peer has ended, or a reset before it got anything. Raises Flooded."""
        self._resets += 1
        if self._resets > _RESETS + self.answers:
            self._begin_anew("it resets too many streams")

    def _begin_anew(self, why: str) -> None:
        now = self._clock()
        if now - self._since < _MINUTE:
            raise Flooded(why)
        self._since = now
        self._restart()
