"""The next process of a daemon, as the daemon that starts it sees it."""

import asyncio
import contextlib
import os
import socket
import subprocess
from typing import Self

from gateway.reload import parent
from gateway.reload.answers import Answers
from gateway.reload.channel import Channel, Message, close_all, text_in
from gateway.reload.errors import HandOverFailed
from gateway.runtime.code_reload import Running
from gateway.runtime.launch import Launch
from gateway.runtime.systemd import PROCESS, is_main, notify
from protocols.net.passed import passed

ENVIRONMENT = "GATEWAY_HAND_OVER"
"""Set for the next process: the protocol's version, and the descriptors of its channel to this process and, if there is
one, to the process that waits for both."""
PROTOCOL = 2
"""The version of what the two processes say to each other. A process of another version has to be restarted."""
FIRST_WORD = 30.0
"""Seconds for the next process to say ``hello``, which it does before it imports anything of the application. A release
that has no hand-over says nothing, and serves beside this one if the addresses let it."""

_SILENT = "the release that is in place now cannot take over from this one. To run it, restart the gateway"


class Successor:
    """A :class:`gateway.runtime.code_reload.NextProcess`.

    It has a process group of its own: a signal that a terminal, or a supervisor, sends to the group of this process
    does not reach it twice.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], channel: Channel, running: Running, waits: Channel | None
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._channel = channel
        self._answers = Answers(channel, running)
        self._waits = waits
        self._is_child_for_good = waits is None and not is_main()
        self._is_announced = False

    @classmethod
    def start(cls, launch: Launch, running: Running, waits: Channel | None = None) -> Self:
        """Start it as this process was started; ``waits`` leads to a process that waits for both. Raises OSError."""
        ours, theirs = socket.socketpair()
        descriptors = [theirs.fileno(), *([waits.descriptor] if waits is not None else [])]
        own = {name: os.environ[name] for name in PROCESS if name in os.environ}
        said = " ".join(map(str, (PROTOCOL, *descriptors)))
        with contextlib.ExitStack() as on_error:
            on_error.callback(ours.close)
            with theirs:
                process = subprocess.Popen(  # noqa: S603 -- the command that has started this process
                    launch.command,
                    cwd=launch.folder,
                    env={**launch.environment, **own, ENVIRONMENT: said},
                    pass_fds=[*descriptors, *passed()],
                    process_group=0,
                )
            on_error.pop_all()
        return cls(process, Channel(ours, "the next process"), running, waits)

    async def until_ready(self) -> str:
        try:
            async with asyncio.timeout(FIRST_WORD):
                first = await self._receive()
        except TimeoutError:
            return f"the next process said nothing within {FIRST_WORD:g} s: {_SILENT}"
        if first is None:
            return f"the next process ended with code {await self._code()}, and said nothing: {_SILENT}"
        return await self._until("hello", first) or await self._until("ready")

    async def promote(self) -> str:
        self._announce(self.pid)
        adopts = self._is_child_for_good and parent.adopt_orphans()
        self._channel.send({"do": "promote", "alone": not self._is_child_for_good, "adopts": adopts})
        return await self._until("serves")

    async def _until(self, wanted: str, message: Message | None = None) -> str:
        """Answer what it asks for until it says ``wanted``. Return why it does not; empty if it does."""
        while message is not None or (message := await self._receive()) is not None:
            if message["do"] == wanted:
                return ""
            if message["do"] == "failed":
                return text_in(message, "why")
            await self._answers.answer(message)
            message = None
        return f"the next process ended with code {await self._code()}, and its log says why"

    async def _receive(self) -> Message | None:
        """It has no sockets that this process could want."""
        if (received := await self._channel.receive()) is None:
            return None
        message, sockets = received
        if sockets:
            close_all(sockets)
            raise HandOverFailed(f"the next process sent sockets with {message['do']!r}")
        return message

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._code()
        self._channel.close()
        if self._is_announced:
            self._announce(os.getpid())

    async def _code(self) -> int:
        return await asyncio.to_thread(self._process.wait)

    def _announce(self, process: int) -> None:
        """Tell systemd, or the process that waits for this one, which process is the daemon."""
        self._is_announced = True
        if self._waits is not None:
            self._waits.send({"do": "wait", "process": process})
        elif not self._is_child_for_good:
            notify(f"MAINPID={process}")

    def pass_on(self, *signals: int) -> None:
        if self._is_child_for_good:
            for number in signals:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(number)

    def leave(self) -> None:
        """Become the parent that waits, where neither systemd nor another parent does."""
        if self._is_child_for_good:
            parent.become(self.pid, self._channel.descriptor)
