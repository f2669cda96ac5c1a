"""The event loop gets its turn, whatever an application awaits in a loop.

An ``await`` that finds its result ready does not suspend. Where an application (or a peer that floods it) awaits such
things one after the other, nothing else runs: no other connection, no timer, no signal. So everything of ours that
can complete without suspending, and that can be awaited on and on, passes a checkpoint:

* ``send`` and ``receive`` of every scope, in :mod:`protocols.app_run`: where the event leaves the state as it is,
  where it raises, and where the inbox has an event. What changes the state cannot be sent on and on;
* ``publish`` of the MQTT server and client, outside a connection;
* the channel layer in memory, every method; the events of a connection that has an inbox;
* what stands between an application and its connection and answers by itself: a batch, a group of recipients, a topic's
  route.

What always suspends needs none: a call on a thread (the store, sync handlers, files), a wait for the disk or for a
socket, a task that is awaited while it runs.
"""

import asyncio
import time
from collections.abc import Callable

SLICE = 0.005
"""Seconds that all applications together run between two turns of the loop, as long as they pass checkpoints."""
_UNSEEN = 8
"""Checkpoints passed before the clock is looked at: a counter costs a tenth of a clock."""


class Turn:
    """What is left of this turn of the loop. One for the process, whose event loop is one::

    turn.left -= 1
    if turn.left < 0:
        await turn.checkpoint()
    """

    __slots__ = ("_began", "_clock", "_is_marked", "left")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.left = _UNSEEN
        self._clock = clock
        self._began = 0.0
        self._is_marked = False

    async def checkpoint(self) -> None:
        """Look at the clock, and let the loop have its turn where this one has lasted long enough."""
        now = self._clock()
        if not self._is_marked:
            self._is_marked = True
            self._began = now
            asyncio.get_running_loop().call_soon(self._over)
        elif now - self._began >= SLICE:
            self.left = _UNSEEN  # for the others, who have done so little that they may go on
            await asyncio.sleep(0)
            self._is_marked = False  # also where the loop that was to say so has been closed
        self.left = _UNSEEN

    def _over(self) -> None:
        """The loop has had its turn."""
        self._is_marked = False
        self.left = _UNSEEN


turn = Turn()


async def checkpoint() -> None:
    """One checkpoint, for what is not called so often that it counts itself."""
    turn.left -= 1
    if turn.left < 0:
        await turn.checkpoint()
