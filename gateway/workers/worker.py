"""A worker, as the parent sees it."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Self

from gateway.reload.channel import Channel, Message
from gateway.reload.errors import HandOverFailed
from gateway.runtime.launch import Launch
from gateway.workers.bell import KINDS, Bell
from gateway.workers.sockets import Wanted
from protocols.net.passed import passed

ENVIRONMENT = "GATEWAY_WORKER"
"""Set for a worker: the protocol's version, its slot, and the descriptor of its channel."""
PROTOCOL = 1
"""The version of what parent and worker say to each other."""
JITTER = 0.1
"""The share that a worker may add to a limit, so that they do not all reach it at once."""

Tell = Callable[["Worker", Message, list[socket.socket]], None]
"""Gets what a worker says, with the sockets that come with it."""


class Worker:
    """A process that serves ``slot``, or is about to. It has a process group of its own: Ctrl+C reaches the parent
    alone."""

    def __init__(self, slot: int, process: asyncio.subprocess.Process, channel: Channel, tell: Tell) -> None:
        self.slot = slot
        self.pid = process.pid
        self.started = self.heard = time.monotonic()
        """When it started, and when it was heard last."""
        self.control = ""
        """The path of its control socket, once it serves; empty if it has none."""
        self.why = ""
        """Why it cannot start, as it has said."""
        self.memory = 0
        """Bytes, as it has told last."""
        self.listens_on: set[Wanted] = set()
        """What it has asked for and, once it serves, all that it may ask for when it gets a server that lives once."""
        self.stretch = 1 + JITTER * random.random()  # noqa: S311 -- no secret
        """By how much its limits are larger."""
        self.ready: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        """None once it serves; its exit code if it ends before."""
        self.owner = ""
        """The owner's id under which it has the store open; empty if it has none, as far as it has told."""
        self.reading: asyncio.Task[None] | None = None
        """What reads what it has counted when it ends."""
        self.bells = {each: Bell(partial(self.say, f"ring {each}")) for each in KINDS}
        self._process = process
        self._channel = channel
        self._tell = tell
        self._tasks = [asyncio.create_task(each) for each in (self._listen(), self._wait())]

    @classmethod
    async def start(cls, launch: Launch, slot: int, tell: Tell) -> Self:
        """Start a process as this one was started; ``tell`` gets what it says, and that it has ended. Raises
        OSError."""
        ours, theirs = socket.socketpair()
        said = f"{PROTOCOL} {slot} {theirs.fileno()}"
        environment = {name: value for name, value in launch.environment.items() if name != "NOTIFY_SOCKET"}
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *launch.command,
                    cwd=launch.folder,
                    env={**environment, ENVIRONMENT: said},
                    pass_fds=[theirs.fileno(), *passed()],
                    process_group=0,
                )
        except OSError:
            ours.close()
            raise
        return cls(slot, process, Channel(ours, f"worker {slot + 1}"), tell)

    def __str__(self) -> str:
        return f"worker {self.slot + 1} (process {self.pid})"

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def say(self, do: str, sockets: list[socket.socket] | None = None, **more: object) -> None:
        """Tell the worker something. It is killed if it does not read."""
        try:
            self._channel.send({"do": do, **more}, sockets)
        except HandOverFailed:
            self.kill()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    async def ended(self) -> None:
        """Wait for its end."""
        await asyncio.wait(self._tasks[1:])

    async def _listen(self) -> None:
        try:
            while (received := await self._channel.receive()) is not None:
                self.heard = time.monotonic()
                self._tell(self, *received)
        except HandOverFailed as error:
            self._tell(self, {"do": "broken", "why": str(error)}, [])

    async def _wait(self) -> None:
        code = await self._process.wait()
        await asyncio.wait(self._tasks[:1], timeout=1.0)  # what it has said last; a program of its own may have the end
        self._tasks[0].cancel()
        await asyncio.wait(self._tasks[:1])
        if self.reading is not None:
            await asyncio.wait([self.reading], timeout=1.0)
        self._channel.close()
        if not self.ready.done():
            self.ready.set_result(code)
        self._tell(self, {"do": "ended", "code": code}, [])


def described(code: int) -> str:
    """How a process has ended: ``ended with code 3``, ``was killed by SIGKILL``."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def is_worker() -> bool:
    """Whether this process is one."""
    return ENVIRONMENT in os.environ
