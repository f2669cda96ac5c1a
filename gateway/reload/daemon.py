"""The daemon of one version: it takes over from the version before, and gives way to the next."""

import asyncio
import logging
from pathlib import Path

from gateway.reload.answers import Answers
from gateway.reload.channel import Message
from gateway.reload.errors import HandOverFailed
from gateway.reload.standby import Standby
from gateway.runtime import banner
from gateway.runtime.build import Gateway
from gateway.runtime.daemon import Daemon, Print
from gateway.runtime.install import install

logger = logging.getLogger(__name__)


class VersionDaemon(Daemon):
    """Runs ``gateway`` in the process ``standby``."""

    def __init__(
        self, gateway: Gateway, print_line: Print, command: str, standby: Standby, *, samples: Path | None
    ) -> None:
        super().__init__(gateway, print_line, command, samples=samples)
        self._standby = standby
        self._in_turn = asyncio.Lock()
        self._answers = Answers(standby.channel, lambda: self._running)

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

    async def _listen(self) -> None:
        """Hear the supervisor and the successor. If the supervisor has ended, so does this."""
        while (message := await self._heard()) is not None:
            if message["do"] == "stop":
                self._stop.set()
            elif message["do"] == "give_way":
                self.prepare_to_leave()
                self.leave()
            else:
                self._tasks.spawn(self._answer(message), name=message["do"])
        self._stop.set()

    async def _heard(self) -> Message | None:
        """Return the next message, without those that are none. None: the supervisor has ended."""
        while True:
            try:
                received = await self._standby.channel.receive()
            except HandOverFailed as error:
                logger.error("%s", error)
            else:
                return None if received is None else received[0]

    async def _answer(self, message: Message) -> None:
        async with self._in_turn:
            try:
                await self._answers.answer(message)
            except HandOverFailed as error:
                logger.error("%s", error)
