"""The last arrivals of a daemon, for ``gateway tail``."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from gateway.arrivals import arrivals

MOST = 1000
"""Arrivals that are remembered."""


class Recent(deque[Mapping[str, Any]]):
    """What is known of each, the oldest first. It is empty until :meth:`start`: remembering has its price, which is
    paid where the log has a line for each arrival. It ends with the gateway."""

    remembers = False

    def __init__(self) -> None:
        super().__init__(maxlen=MOST)

    def start(self) -> None:
        self.remembers = True
        arrivals.get().listen(lambda arrival: self.append(arrival.facts()))
