"""Work that is too long for one turn of the event loop, done in slices. Pure: its owner calls :meth:`run`."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable

logger = logging.getLogger(__name__)

Job = Callable[[], bool]
"""Does a slice of some hundred steps; whether there is more to do."""


class Backlog:
    """Jobs that take turns. ``wake`` is called when there is something to do and there was nothing before."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._jobs: OrderedDict[Hashable, Job] = OrderedDict()
        self._awake = False

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, key: Hashable, job: Job) -> None:
        """Do ``job``, unless one with this key waits already."""
        self._jobs.setdefault(key, job)
        if not self._awake:
            self._awake = True
            self._wake()

    def run(self) -> bool:
        """One slice of the job that has waited longest; whether there is more to do."""
        if self._jobs:
            key, job = self._jobs.popitem(last=False)
            try:
                if job():
                    self._jobs[key] = job
            except Exception:  # one fault must not stop the others' work
                logger.exception("the backlog")
        self._awake = bool(self._jobs)
        return self._awake
