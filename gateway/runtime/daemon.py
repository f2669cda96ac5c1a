"""The daemon: what a file asks for, started, drained, stopped."""

import asyncio
import contextlib
import logging
import os
import resource
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from gateway.config.garbage import settle
from gateway.logs import setup
from gateway.runtime import banner, signals
from gateway.runtime.build import Gateway
from gateway.runtime.notify import keep_alive, notify
from gateway.runtime.watchdog import Watch
from gateway.services import entered, install
from gateway.store import StoreUnavailable, engine_of
from gateway.threads import thread_pool
from protocols.errors import BindError
from protocols.lifespan import StartupFailed
from protocols.server import Server
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

OK, FORCED, MISTAKE, CANNOT_START = 0, 1, 2, 3
"""Exit codes."""
DESCRIPTORS = 65536
"""How many file descriptors are asked for where the hard limit allows it."""
ROUTES_SHOWN = 20
"""Routes of each scope type that the start page lists."""
LAST_WORDS = 1.0
"""Seconds that a forced end takes, at most."""

Say = Callable[[str], None]


class Daemon:
    """Runs a :class:`Gateway` until a signal; ``say`` gets the start page, ``command`` names the CLI."""

    def __init__(self, gateway: Gateway, say: Say, command: str) -> None:
        self._gateway = gateway
        self._say = _as_record if gateway.settings.log.format == "json" else _unheard(say)
        self._command = command
        self._started: list[Server] = []
        self._stop = asyncio.Event()
        self._tasks = Tasks("daemon")
        self._forcing = threading.Lock()

    async def run(self) -> int:
        """Start, serve, stop; the exit code."""
        asyncio.get_running_loop().set_exception_handler(_log_crash)
        self._handle_signals()
        Watch(asyncio.get_running_loop(), thread_pool.get()).start()
        self._tasks.spawn(keep_alive(), name="watchdog")
        try:
            ready = await _unless(self._stop, self._start())
        except (StartupFailed, StoreUnavailable, OSError) as error:
            logger.error("cannot start: %s", error)
            await self._abort()
            return CANNOT_START
        if not ready:
            notify("STOPPING=1")
            await self._abort()
            logger.info("stopped: before it was ready")
            return OK
        await self._greet()
        notify("READY=1")
        await self._stop.wait()
        notify("STOPPING=1")
        await self._drain()
        return OK

    async def _start(self) -> None:
        if self._gateway.console is not None:
            await _bind(self._gateway.console, "console")
        dispatcher = self._gateway.dispatcher
        if dispatcher is not None and (found := await dispatcher.open()):
            logger.warning("store: %s", found)
        setup.adopt(self._gateway.settings.log)  # what was set up by an import,
        await self._gateway.lifespan.startup()
        setup.adopt(self._gateway.settings.log)  # and by this
        if dispatcher is not None:
            dispatcher.start(self._gateway.outlets)
        for server in self._gateway.servers:
            await _bind(server, f"servers.{server.name}")
            self._started.append(server)

    async def _abort(self) -> None:
        for server in reversed(self._started):
            await _stop(server, 0.0)
        if self._gateway.dispatcher is not None:
            await self._gateway.dispatcher.stop(0.0)
        await self._shut_application_down()
        if self._gateway.console is not None:
            await _stop(self._gateway.console, 0.0)

    async def _greet(self) -> None:
        gateway = self._gateway
        store = await gateway.dispatcher.summary() if gateway.dispatcher is not None else ""
        kept = f"     store {engine_of(gateway.settings.store)}: {store}" if store else ""
        self._say(banner.header(gateway.file, gateway.servers, gateway.app) + kept)
        listed = [*gateway.servers, gateway.console] if gateway.console is not None else gateway.servers
        for line in [*banner.server_lines(listed), *banner.route_lines(gateway.app, ROUTES_SHOWN)]:
            self._say(line)
        if hint := banner.try_line(gateway.servers, gateway.settings.servers, gateway.app, self._command):
            self._say(hint)

    async def _drain(self) -> None:
        """Stop accepting, wait for what is in flight, cancel what is left, then the application's shutdown."""
        grace = self._gateway.settings.shutdown_timeout
        left: dict[str, int] = {}
        loop = asyncio.get_running_loop()
        # Asked for before the servers set their own timers, so it sees what they are about to cancel.
        deadline = loop.call_later(grace, lambda: left.update(self._active()))
        ticker = self._tasks.spawn(self._tick(lambda: banner.nouns(self._active()), grace), name="ticker")
        ends = loop.time() + grace
        await asyncio.gather(*(_stop(server, grace) for server in self._started))
        if self._gateway.dispatcher is not None:
            await self._gateway.dispatcher.stop(max(0.0, ends - loop.time()))
        deadline.cancel()
        ticker.cancel()
        await self._shut_application_down()
        if self._gateway.console is not None:
            await _stop(self._gateway.console, 0.0)
        await _cancel_rest()
        thread_pool.get().shutdown(wait=False)
        kept = await self._gateway.dispatcher.close() if self._gateway.dispatcher is not None else ""
        words = [f"{banner.nouns(left)} cancelled" if left else "0 lost", *([kept] if kept else [])]
        logger.info("stopped: %s", ", ".join(words))

    async def _shut_application_down(self) -> None:
        lifespan = self._gateway.lifespan
        ticker = self._tasks.spawn(
            self._tick(lambda: "the application's shutdown", lifespan.timeout, 1.0), name="ticker"
        )
        await lifespan.shutdown()
        ticker.cancel()

    async def _tick(self, waited_for: Callable[[], str], seconds: float, quiet: float = 0.0) -> None:
        """Say each second what is waited for, after the first ``quiet`` ones."""
        deadline = asyncio.get_running_loop().time() + seconds
        await asyncio.sleep(quiet)
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            if what := waited_for():
                logger.info("draining: %s (%.0f s left; Ctrl+C again to stop now)", what, left)
            await asyncio.sleep(1.0)

    def _active(self) -> dict[str, int]:
        dispatcher = self._gateway.dispatcher
        return banner.in_flight(self._started) | (dispatcher.active() if dispatcher is not None else {})

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        signals.listen(lambda: loop.call_soon_threadsafe(self._stop.set), self._force)

    def _force(self) -> None:
        """End the process, from any thread; within ``LAST_WORDS`` also where the loop's thread holds a lock."""
        if self._forcing.acquire(blocking=False):
            words = threading.Thread(target=self._say_what_is_cut_off, name="last words", daemon=True)
            words.start()
            words.join(LAST_WORDS)
            os._exit(FORCED)

    def _say_what_is_cut_off(self) -> None:
        logger.warning("stopped now: %s cut off", banner.nouns(self._active()) or "nothing")
        _flush()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether ``work`` came to its end before ``stop`` was set; else it is cancelled. Raises what ``work`` raises."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        return working.done()
    finally:  # however this ends, neither goes on, and what a cancelled start raises is looked at
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _cancel_rest() -> None:
    """Cancel what the application has started itself and left; bounded, for it may refuse."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=1.0)


async def _bind(server: Server, what: str) -> None:
    """Raises BindError with the place in the file."""
    try:
        await server.start()
    except OSError as error:
        reason = str(error) if isinstance(error, BindError) else error.strerror or error
        raise BindError(f"{what}: {reason}") from error


async def _stop(server: Server, grace: float) -> None:
    try:
        await server.stop(grace)
    except Exception:
        logger.exception("%s did not stop cleanly", server.name)


def _log_crash(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A crash that nobody awaited: in a callback, or in a task that was thrown away."""
    logger.error("%s", context.get("message", "a callback crashed"), exc_info=context.get("exception"))


def leave(code: int) -> NoReturn:
    """End the process without waiting for threads: a sync handler that hangs cannot be cancelled."""
    _flush()
    os._exit(code)


def _flush() -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()


def _unheard(say: Say) -> Say:
    """``say``, where that nobody can hear it is no reason to stop: a full disk, a pipe whose reader is gone."""

    def said(text: str) -> None:
        with contextlib.suppress(OSError):
            say(text)

    return said


def _as_record(text: str) -> None:
    """A line of the start page, where every line of the process is one of the log."""
    logger.info("%s", " ".join(text.split()))


def run(gateway: Gateway, say: Say, command: str) -> NoReturn:
    """Run ``gateway`` on uvloop where that is installed, and end the process with its exit code.

    The loop is not closed: that waits for every thread of ``asyncio.to_thread``, and one may hang.
    """
    _raise_descriptor_limit()
    settle()
    runner = asyncio.Runner(loop_factory=_loop_factory())
    install(gateway.services)
    with entered(gateway.services):
        leave(runner.run(Daemon(gateway, say, command).run()))


def _raise_descriptor_limit() -> None:
    """A connection is a descriptor, and 1,024 of them, the usual soft limit, is for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system whose own limit is below the hard one
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, DESCRIPTORS)), hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
