"""The gateways of one process that took over from one another, and what those that have ended have counted."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from gateway.services import Service


class Reloads:
    """What came of the reloads in one process."""

    def __init__(self) -> None:
        self.generation = 1
        """The number of the configuration that serves."""
        self.is_successful = True
        """Whether the last reload succeeded, or there was none."""
        self.succeeded = time.time()
        """The Unix time of the last reload that did, or of the start."""
        self.tell: Callable[[bool], object] | None = None
        """Tells other workers whether one has succeeded, for their :meth:`learn`."""

    def note(self, *, successful: bool, generation: int) -> None:
        self.generation = generation
        self.learn(successful)
        if self.tell is not None:
            self.tell(successful)

    def learn(self, successful: bool) -> None:
        self.is_successful = successful
        if successful:
            self.succeeded = time.time()


Gather = Callable[[Mapping[str, Any], float], Awaitable[Mapping[str, Any]]]
"""Sends the other workers a request by their control sockets, or every worker if it asks for the metrics, and waits for
so many seconds. Returns ``found``, a list with the ``process`` and the ``answer`` of each, which is None if it does not
answer."""
Neighbours = Callable[[], Collection[Path]]
"""Returns the control sockets of the other workers, as they are now."""


class Succession:
    """Each gateway has one when it is built; a successor in the same process shares that of its predecessor.

    Counters never go back when a gateway is replaced: each gateway has its own, and a scrape adds up those of
    :attr:`running` and :attr:`kept`.
    """

    def __init__(self) -> None:
        self.running: list[Any] = []
        """The gateways that have started and not ended, the newest first."""
        self.kept: dict[str, Any] = {}
        """A :data:`gateway.metrics.snapshot.Snapshot` of the counters of those that have ended."""
        self.gone: dict[tuple[str, str], float] = {}
        """The servers and routes of these counters that no file names any more, and since when."""
        self.reloads = Reloads()
        self.gather: Gather | None = None
        """Asks all workers of the gateway something; None if this process is the only one."""
        self.neighbours: Neighbours | None = None
        """Finds the other workers of the gateway; None if this process is the only one."""

    def begin(self, gateway: Any) -> None:
        self.running.insert(0, gateway)

    def follow(self, before: "Succession") -> None:
        """Share the gateways and the counters of ``before``."""
        before.running[:0] = self.running
        self.running, self.kept, self.gone = before.running, before.kept, before.gone
        self.reloads = before.reloads

    def end(self, gateway: Any) -> None:
        if gateway in self.running:
            self.running.remove(gateway)


succession: Service[Succession] = Service("succession")
