"""The daemon of a process that takes over from the one that has started it."""

import asyncio
import logging

from gateway.exit_codes import CANNOT_START
from gateway.reload.hand_over import ENDED, HandOver
from gateway.runtime import banner
from gateway.runtime.build import Gateway
from gateway.runtime.code_reload import StartNext
from gateway.runtime.daemon import Daemon, Print
from gateway.runtime.generations import Again
from gateway.runtime.install import install
from gateway.store import StoreUnavailable, engine_of
from protocols.errors import describe_error
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
        self._hand_over.predecessor.patience += gateway.settings.shutdown_timeout
        self._is_promoted = False

    async def run(self) -> int:
        """A supervisor that waits for this process has to start another one if this one has not become the daemon."""
        loop = asyncio.get_running_loop()
        self._hand_over.when_left = lambda: loop.call_soon_threadsafe(self._stop_alone, ENDED)
        code = await super().run()
        return code if self._is_promoted else CANNOT_START

    def _keep_alive(self) -> None:
        """Leave that to the other process, until this one counts."""

    async def _install(self) -> None:
        try:
            self._check_store()
            await install(self._running, self._hand_over.predecessor)
        except asyncio.CancelledError:
            self._hand_over.failed("the next process was stopped by a signal before it was ready")
            raise
        except Exception as error:
            is_known = isinstance(error, StartupFailed | StoreUnavailable | OSError)
            self._hand_over.failed(f"cannot start: {error if is_known else describe_error(error)}")
            raise

    def _check_store(self) -> None:
        """The release of the other process could not open a store again that this one has brought up to date, and has
        to go on if this one fails. Raises StoreUnavailable."""
        gateway = self._running.gateway
        if gateway.dispatcher is not None:
            engine_of(gateway.settings.store).check_shared()

    async def _greet(self) -> None:
        gateway = self._running.gateway
        self._print(banner.header(gateway.file, gateway.servers, gateway.app, gateway.settings.application))

    async def _become_daemon(self) -> None:
        try:
            self._is_promoted = await self._hand_over.promoted()
        except OSError as error:
            self._hand_over.failed(str(error))
            self._stop_alone(str(error))
            return
        if not self._is_promoted:
            self._stop_alone(ENDED)
            return
        logger.info("took over from process %d", self._hand_over.process)
        super()._keep_alive()
        await super()._become_daemon()
        self._tasks.spawn(self._end_with_parent(), name="its parent")

    def _stop_alone(self, why: str) -> None:
        logger.error("stopping: %s", why)
        self._stop.set()

    async def _end_with_parent(self) -> None:
        """Stop as at a signal if the process ends that waits for this one: its supervisor starts another."""
        if (parent := self._hand_over.parent) is not None:
            await parent.end()
            self._end_at_signal()
