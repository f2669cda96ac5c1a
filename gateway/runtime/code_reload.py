"""Starts this program's next process beside this one, and gives way to it when it serves."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Protocol

from gateway.control.server import Unavailable
from gateway.runtime.running import RunningGateway
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

Running = Callable[[], RunningGateway]


class NextProcess(Protocol):
    """The next process, as this one sees it."""

    pid: int

    async def until_ready(self) -> str:
        """Answer what it asks for until it serves. Return why it does not; empty if it does. Raises OSError."""

    async def promote(self) -> str:
        """Make it the daemon of the supervisor that has started this process. Return why it has not become that; empty
        if it has. Raises OSError."""

    async def kill(self) -> None:
        """End it at once. This process is the daemon."""

    def pass_on(self, *signals: int) -> None:
        """Send it signals, if the supervisor sends them to this process alone. From any thread."""

    def leave(self) -> None:
        """End this process, or let it wait for the next one, which its supervisor does not know."""


StartNext = Callable[[Running], NextProcess]
"""Starts the next process, which takes over from the gateway. Raises OSError."""


class Leaving(Protocol):
    """What the daemon of this process does around its end."""

    def prepare_to_leave(self) -> None:
        """Leave to the next process what only one of them may have."""

    def stay(self) -> None:
        """Have it again, and remove what the next process has left: it has been killed."""

    def leave(self) -> None:
        """The next process is the daemon."""


class CodeReload:
    """``start`` is None if this process cannot be started again."""

    def __init__(self, start: StartNext | None, running: Running, leaving: Leaving) -> None:
        self.successor: NextProcess | None = None
        """The process that serves in the place of this one."""
        self._start = start
        self._running = running
        self._leaving = leaving
        self._tasks = Tasks("reload")

    @property
    def is_busy(self) -> bool:
        """Whether another process is taking over, or has."""
        return len(self._tasks) > 0 or self.successor is not None

    async def replace(self, within: float) -> int:
        """Start the next process, and return its number when it serves, ``within`` so many seconds. That goes on if the
        caller leaves. Raises Unavailable with why the next one does not serve; this one serves then, as before."""
        if self._start is None:
            raise Unavailable("this process cannot be started again by itself: stop it, and start it")
        if self.is_busy:
            raise Unavailable("another process is taking over already")
        why = await asyncio.shield(self._tasks.spawn(self._replace(self._start, within), name="the next process"))
        if why:
            raise Unavailable(why)
        return self._serving()

    def _serving(self) -> int:
        return os.getpid() if self.successor is None else self.successor.pid

    async def stop(self) -> None:
        """Start no process any more."""
        await self._tasks.cancel()

    async def _replace(self, start: StartNext, within: float) -> str:
        """Return why the next process does not serve, and that this one does; empty if it does."""
        try:
            process = start(self._running)
        except OSError as error:
            why = f"the next process cannot be started: {error}"
        else:
            why = await self._outcome(process, within)
        if not why:
            return ""
        logger.error("this process keeps running, because the next one does not serve: %s", why.splitlines()[0])
        return f"{why}\nProcess {os.getpid()} keeps running."

    async def _outcome(self, process: NextProcess, within: float) -> str:
        """Return why ``process`` does not serve; empty if it does, and is the daemon."""
        serves = False
        try:
            async with asyncio.timeout(within):
                why = await process.until_ready() or await self._promote(process)
            serves = not why
        except TimeoutError:
            why = f"the next process was not ready within {within:g} s"
        except OSError as error:  # it has sent what is no message, say
            why = str(error)
        finally:  # also where this process is being stopped
            if not serves:
                await process.kill()
                await self._running().resume()
                self._leaving.stay()
        if serves:
            self.successor = process
            self._leaving.leave()
        return why

    async def _promote(self, process: NextProcess) -> str:
        self._leaving.prepare_to_leave()
        return await process.promote()
