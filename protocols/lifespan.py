"""An application's lifespan: startup before the first scope, shutdown after the last (ASGI lifespan 2.0)."""

import asyncio
import logging
from typing import Any

from protocols.app_run import AppRun
from protocols.asgi import Application, LifespanScope
from protocols.errors import LocalProtocolError
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)


class StartupFailed(Exception):
    """The application sent ``lifespan.startup.failed``, or did not answer in time."""


class _LifespanRun(AppRun):
    sends = {
        "starting": {"lifespan.startup.complete": "running", "lifespan.startup.failed": "over"},
        "running": {"lifespan.shutdown.complete": "over", "lifespan.shutdown.failed": "over"},
    }

    def __init__(self, app: Application, scope: LifespanScope) -> None:
        super().__init__(app, scope)
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = loop.create_future()
        self.failure: str | None = None

    def lifespan_startup_complete(self, event: dict[str, Any]) -> None:
        self.started.set_result(None)

    def lifespan_startup_failed(self, event: dict[str, Any]) -> None:
        self.started.set_exception(StartupFailed(_why(event)))

    def lifespan_shutdown_complete(self, event: dict[str, Any]) -> None:
        pass

    def lifespan_shutdown_failed(self, event: dict[str, Any]) -> None:
        self.failure = _why(event)

    def _crashed(self, error: BaseException) -> None:
        """Log a crash, unless it means that the application does not support lifespan.

        It does if the application has not called ``receive``, or has sent an event of another scope.
        """
        asked = self._received and not isinstance(error, LocalProtocolError)
        if asked or self.started.done():
            super()._crashed(error)
        else:
            logger.debug("no lifespan: %r", error)


def _why(event: dict[str, Any]) -> str:
    """Return the application's message; of a traceback, which Starlette sends, only its last line."""
    lines = str(event.get("message") or "").strip().splitlines() or ["the application did not say why"]
    return lines[-1] if lines[0].startswith("Traceback (") else "\n".join(lines)


class Lifespan:
    """Runs the lifespan of one application. An application without lifespan support is left alone."""

    def __init__(self, app: Application, *, timeout: float = 60.0) -> None:
        self.state: dict[str, Any] = {}
        """The state that startup fills; each scope gets a shallow copy."""
        self._app = app
        self.timeout = timeout
        """Seconds for startup, and again for shutdown."""
        self._tasks = Tasks("lifespan")
        self._run: _LifespanRun | None = None

    async def startup(self) -> None:
        """Send ``lifespan.startup`` and wait for the answer. Raises StartupFailed, also after ``timeout`` seconds."""
        scope: LifespanScope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        run = _LifespanRun(self._app, scope)
        run.feed({"type": "lifespan.startup"})
        task = self._tasks.spawn(run.run(), name="run")
        await asyncio.wait({task, run.started}, timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED)
        if run.started.done():
            run.started.result()
            self._run = run
        elif not task.done():
            await self._tasks.cancel()
            raise StartupFailed(f"no answer to lifespan.startup within {self.timeout:g} s")

    @property
    def failure(self) -> str:
        """Why the shutdown failed. Empty if it has not."""
        run = self._run
        return "" if run is None else run.failure or ("" if run.error is None else repr(run.error))

    async def shutdown(self) -> None:
        """Send ``lifespan.shutdown`` and wait for the end, at most ``timeout`` seconds. A failure is one log line.

        A startup that is still running is cancelled.
        """
        if self._run is None:
            await self._tasks.cancel()
            return
        self._run.feed({"type": "lifespan.shutdown"})
        if await self._tasks.drain(self.timeout):
            logger.warning("no answer to lifespan.shutdown within %g s", self.timeout)
            await self._tasks.cancel()
        if self._run.failure:
            logger.error("the application's shutdown failed: %s", self._run.failure)
