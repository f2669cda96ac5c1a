"""Checkpoints give the event loop its turn, whatever an application awaits in a loop.

An ``await`` that finds its result ready does not suspend. Where an application (or a peer that floods it) awaits such
things one after the other, nothing else runs: no other connection, no timer, no signal. So everything of ours that can
complete without suspending, and that can be awaited again and again, passes a checkpoint:

* ``send`` and ``receive`` of every scope, in :mod:`protocols.app_run`: where the event leaves the state as it is,
  where it raises, and where an event is waiting. An event that changes the state cannot be sent again and again;
* ``publish`` of the MQTT server and client, outside a connection;
* every method of the channel layer in memory, and the events of a connection that has an inbox;
* everything between an application and its connection that answers by itself: a batch, a group of recipients, a
  topic's route.

A call that always suspends needs no checkpoint: a call on a thread (the store, sync handlers, files), a wait for the
disk or for a socket, a task that is awaited while it runs.
"""

import asyncio
import time
from collections.abc import Callable

SLICE = 0.005
"""Seconds that all applications together may run between two turns of the loop, if they pass checkpoints."""
_UNCHECKED = 8
"""Checkpoints passed before the clock is read: counting costs a tenth of reading a clock."""


class Checkpoints:
    """The checkpoints of one event loop. There is one object for the process, which has one event loop::

    checkpoints.left -= 1
    if checkpoints.left < 0:
        await checkpoints.read_clock()
    """

    __slots__ = ("_began", "_clock", "_is_marked", "left")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.left = _UNCHECKED
        """Checkpoints that may still be passed before the clock is read."""
        self._clock = clock
        self._began = 0.0
        self._is_marked = False

    async def read_clock(self) -> None:
        """Suspend if this turn of the loop has lasted for a :data:`SLICE`."""
        now = self._clock()
        if not self._is_marked:
            self._is_marked = True
            self._began = now
            asyncio.get_running_loop().call_soon(self._turn_ended)
        elif now - self._began >= SLICE:
            self.left = _UNCHECKED  # for the other tasks, which have done so little that they may go on
            await asyncio.sleep(0)
            self._is_marked = False  # also if the loop that was to call _turn_ended has been closed
        self.left = _UNCHECKED

    def _turn_ended(self) -> None:
        self._is_marked = False
        self.left = _UNCHECKED


checkpoints = Checkpoints()


async def checkpoint() -> None:
    """Pass one checkpoint. Code that is called very often counts for itself, as :class:`Checkpoints` shows."""
    checkpoints.left -= 1
    if checkpoints.left < 0:
        await checkpoints.read_clock()
