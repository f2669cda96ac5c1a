"""The daemon of one version: it takes over from the version before, and gives way to the next."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.reload.channel import Message
from gateway.reload.standby import Standby
from gateway.runtime import banner
from gateway.runtime.build import Gateway
from gateway.runtime.daemon import Daemon, Print
from gateway.runtime.install import install
from gateway.runtime.process import cancel_rest
from protocols.units import parse_address

logger = logging.getLogger(__name__)


class VersionDaemon(Daemon):
    """Runs ``gateway`` in the process ``standby``."""

    def __init__(
        self, gateway: Gateway, print_line: Print, command: str, standby: Standby, *, samples: Path | None
    ) -> None:
        super().__init__(gateway, print_line, command, samples=samples)
        self._standby = standby
        self._in_turn = asyncio.Lock()
        self._has_successor = False
        self._answers: dict[str, Callable[[Message], Awaitable[list[socket.socket]]]] = {
            "sockets": self._sockets,
            "stop_delivering": self._stop_delivering,
            "release_exclusive": self._release_exclusive,
            "resume": self._resume,
            "give_way": self._give_way,
        }

    async def _install(self) -> None:
        self._tasks.spawn(self._listen(), name="the supervisor")
        await install(self._running, self._standby.predecessor)

    async def _greet(self) -> None:
        if self._standby.predecessor is None:
            await super()._greet()
        else:
            gateway = self._running.gateway
            self._print(banner.header(gateway.file, gateway.servers, gateway.app, gateway.settings.application))
            changed = ", ".join(self._standby.changed_files())
            logger.info("reloaded %.2f s after a change: %s", self._standby.seconds(), changed)
        self._standby.ready()

    async def _end(self) -> None:
        if self._has_successor:
            await self._running.give_way()
            await self._control.stop()
            await cancel_rest()
        else:
            await super()._end()

    async def _listen(self) -> None:
        """Hear the supervisor and the successor. If the supervisor has ended, so does this."""
        while (received := await self._standby.channel.receive()) is not None:
            message, _ = received
            if message["do"] == "stop":
                self._stop.set()
            else:
                self._tasks.spawn(self._answer(message), name=message["do"])
        self._stop.set()

    async def _answer(self, message: Message) -> None:
        async with self._in_turn:
            sockets = await self._answers[message["do"]](message)
        if "request" in message:
            self._standby.channel.send({"do": "answer", "answers": message["request"]}, sockets)
        for each in sockets:
            each.close()

    async def _sockets(self, message: Message) -> list[socket.socket]:
        return list(await self._running.sockets_of(message["name"], parse_address(message["bind"])))

    async def _stop_delivering(self, message: Message) -> list[socket.socket]:
        await self._running.stop_delivering()
        return []

    async def _release_exclusive(self, message: Message) -> list[socket.socket]:
        await self._running.release_exclusive()
        return []

    async def _resume(self, message: Message) -> list[socket.socket]:
        await self._running.resume()
        return []

    async def _give_way(self, message: Message) -> list[socket.socket]:
        self._has_successor = True
        self._stop.set()
        return []
