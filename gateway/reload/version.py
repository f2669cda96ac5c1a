"""One version of the code: a process, as the supervisor that started it sees it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Self

from gateway.reload.channel import Channel, Message
from gateway.reload.errors import HandOverFailed
from gateway.runtime.signals import IGNORED
from protocols.net.passed import passed

ENVIRONMENT = "GATEWAY_RELOAD"
"""Set for a version's process: the descriptors of its channel, and of that of the version before if there is one."""
BLOCKED = frozenset({signal.SIGINT, *IGNORED})
"""Signals that a version's process does not get before it begins."""

Tell = Callable[["Version", Message], None]


class Version:
    """A process that imports the gateway, waits for :meth:`begin`, and then serves if it can.

    The supervisor holds its end of a version's channel, and gives a copy to the successor: that asks for the version's
    sockets, and lets it stop what cannot exist twice. A version says nothing of itself after it is ready, so that all
    that comes then is an answer to the successor.
    """

    def __init__(self, process: asyncio.subprocess.Process, end: socket.socket, tell: Tell) -> None:
        self.imported: frozenset[Path] = frozenset()
        """What it has imported before :meth:`begin` that is the user's own: a scope type that is being developed."""
        self.is_importing = False
        """Whether it imports the application now."""
        self._process = process
        self._channel = Channel(end, "a version")
        self._tell = tell
        self._tasks = [asyncio.create_task(each) for each in (self._listen(), self._wait())]

    @classmethod
    async def start(cls, predecessor: Self | None, tell: Tell) -> Self:
        """Start a process; ``tell`` gets what it says, and that it has ended.

        It begins with the signals blocked that a terminal sends to every process: while it waits it has nothing to say.
        """
        ours, theirs = socket.socketpair()
        before = [predecessor.descriptor] if predecessor is not None and not predecessor.has_ended else []
        channels = [theirs.fileno(), *before]
        environment = os.environ | {ENVIRONMENT: " ".join(map(str, channels))}
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, *sys.orig_argv[1:], env=environment, pass_fds=[*channels, *passed()]
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        return cls(process, ours, tell)

    @property
    def descriptor(self) -> int:
        return self._channel.descriptor

    @property
    def has_ended(self) -> bool:
        """Whether its process has ended; the supervisor may still have to hear of it."""
        return self.descriptor < 0

    def prepare(self, modules: Sequence[str]) -> None:
        """Let it import ``modules``, while it waits."""
        self._channel.send({"do": "import", "modules": modules})

    def begin(self, changed: Collection[Path]) -> None:
        """Let it import the application, because of what ``changed``, and serve."""
        self.is_importing = True
        self._channel.send({"do": "begin", "changed": sorted(map(str, changed)), "at": time.time()})

    def resume(self) -> None:
        """Let it go on: its successor has not come up."""
        self._channel.send({"do": "resume"})

    def give_way(self) -> None:
        """Let it finish what it has accepted, and end: its successor serves."""
        self._channel.send({"do": "give_way"})

    def stop(self) -> None:
        """Let it end as at SIGTERM. A signal would be the second one, where Ctrl+C was the first."""
        self._channel.send({"do": "stop"})

    def force(self) -> None:
        """End it as a second signal does."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._send_signal(number)

    def kill(self) -> None:
        self._send_signal(signal.SIGKILL)

    async def ended(self) -> None:
        """Wait for its end."""
        await self._process.wait()

    def _send_signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _listen(self) -> None:
        try:
            while (received := await self._channel.receive()) is not None:
                self._tell(self, received[0])
                if received[0]["do"] == "ready":
                    return
        except HandOverFailed as error:
            self._tell(self, {"do": "broken", "why": str(error)})

    async def _wait(self) -> None:
        code = await self._process.wait()
        self._tasks[0].cancel()
        await asyncio.wait(self._tasks[:1])
        self._channel.close()
        self._tell(self, {"do": "ended", "code": code})
