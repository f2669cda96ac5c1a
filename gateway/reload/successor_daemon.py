"""The daemon of a process that takes over from the one that has started it."""

import logging

from gateway.reload.hand_over import HandOver
from gateway.runtime import banner
from gateway.runtime.build import Gateway
from gateway.runtime.code_reload import StartNext
from gateway.runtime.daemon import Daemon, Print
from gateway.runtime.generations import Again
from gateway.runtime.install import install
from gateway.store import StoreUnavailable
from protocols.lifespan import StartupFailed

logger = logging.getLogger(__name__)


class SuccessorDaemon(Daemon):
    """Runs ``gateway`` in the place of the process that ``hand_over`` leads to."""

    def __init__(
        self,
        gateway: Gateway,
        print_line: Print,
        command: str,
        hand_over: HandOver,
        *,
        start_next: StartNext,
        again: Again,
    ) -> None:
        super().__init__(gateway, print_line, command, start_next=start_next, again=again)
        self._hand_over = hand_over

    def _keep_alive(self) -> None:
        """Leave that to the other process, until this one counts."""

    async def _install(self) -> None:
        try:
            await install(self._running, self._hand_over.predecessor)
        except (StartupFailed, StoreUnavailable, OSError) as error:
            self._hand_over.failed(f"cannot start: {error}")
            raise

    async def _greet(self) -> None:
        gateway = self._running.gateway
        self._print(banner.header(gateway.file, gateway.servers, gateway.app, gateway.settings.application))

    async def _become_daemon(self) -> None:
        if not await self._hand_over.promoted():
            logger.error("stopping: the process that this one was to replace has ended")
            self._stop.set()
            return
        logger.info("took over from process %d", self._hand_over.process)
        super()._keep_alive()
        await super()._become_daemon()
        self._tasks.spawn(self._end_with_parent(), name="its parent")

    async def _end_with_parent(self) -> None:
        """Stop as at a signal if the process ends that waits for this one: its supervisor starts another."""
        if (parent := self._hand_over.parent) is not None:
            while await parent.receive() is not None:
                pass
            self._end_at_signal()
