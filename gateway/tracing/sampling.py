"""Decides what is traced. A message that is not traced costs a decrement here, and no call of OpenTelemetry."""

import math
import random
from contextvars import ContextVar


class Sampler:
    """Takes a share of what it is asked about, at random: of every tenth message, a device that sends every tenth
    would be all that is traced, or not at all."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._left = self._gap()

    def takes(self) -> bool:
        self._left -= 1
        if self._left > 0:
            return False
        self._left = self._gap()
        return self._ratio > 0

    def _gap(self) -> float:
        """How many it takes until the next one: distributed as if each had been drawn for by itself."""
        if self._ratio >= 1:
            return 1
        if self._ratio <= 0:
            return math.inf
        return 1 + math.floor(math.log(1 - random.random()) / math.log1p(-self._ratio))  # noqa: S311 -- no secret


is_decided: ContextVar[bool] = ContextVar("is_decided", default=False)
"""Whether the code here handles a message for which it is decided whether it is traced. A span without a parent, which
other code begins here, belongs to a message that is not."""
