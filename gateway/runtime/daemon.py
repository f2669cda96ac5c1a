"""Runs a gateway until a signal, and tells the operator and the supervisor its state."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.allocator import keep_freed
from gateway.config.settings import ConsoleSettings
from gateway.console.here import Here
from gateway.console.socket import Commands
from gateway.control.place import places
from gateway.control.recent import Recent
from gateway.control.server import ControlServer, Unavailable, remove_dead
from gateway.exit_codes import CANNOT_START, OK
from gateway.logs import setup
from gateway.runtime import banner, signals
from gateway.runtime.build import Gateway
from gateway.runtime.code_reload import CodeReload, StartNext
from gateway.runtime.generations import Again, Generations
from gateway.runtime.install import install
from gateway.runtime.kept_sockets import KeptSockets
from gateway.runtime.process import cancel_rest, force
from gateway.runtime.progress import listed
from gateway.runtime.running import RunningGateway, summary
from gateway.runtime.samples import send_samples
from gateway.runtime.systemd import keep_alive, notify
from gateway.runtime.watchdog import Watch
from gateway.store import StoreUnavailable, engine_of
from protocols.asgi import Application
from protocols.lazy_names import imported
from protocols.lifespan import StartupFailed
from protocols.tasks import LAST_WORDS, Tasks

if TYPE_CHECKING:  # a file with a console imports it
    from gateway.runtime.health import Console

logger = logging.getLogger(__name__)

_STARTS_OR_STOPS = "the gateway starts or stops; try again in a moment"
ROUTES_SHOWN = 20
"""Routes of each scope type that the banner lists."""

Print = Callable[[str], None]


class Daemon:
    """Runs ``gateway`` until a signal. ``print_line`` gets each line of the banner; the examples in it begin with
    ``command``, which calls this program again with the same file, if there is one. ``samples`` names that file, if the
    daemon is to do what the examples say. ``start_next`` starts this program again, for :mod:`code_reload`; ``again``
    reads the file again."""

    def __init__(
        self,
        gateway: Gateway,
        print_line: Print,
        command: str | None,
        *,
        samples: Path | None = None,
        start_next: StartNext | None = None,
        again: Again | None = None,
    ) -> None:
        read = again and (lambda before: self._with_interface(again(before)))
        self._generations = Generations(RunningGateway(gateway), read, self._succeeded, self._why_not_now)
        self._is_ready = False
        self._samples = samples
        self._print_line = _ignoring_write_errors(print_line)
        self._command = command
        self._stop = asyncio.Event()
        self._tasks = Tasks("daemon")
        self._recent = Recent()
        self._has_successor = False
        """Whether another process has taken over."""
        self._is_passed_on = False
        """Whether that has got the signal that ends both."""
        self._code = CodeReload(start_next, lambda: self._running, self)
        self._here = Here(lambda: self._running.gateway, self._recent, self._generations, self._replace)
        self._commands = Commands(self._here)
        self._parent: int | None = None
        """The number of the process whose worker this is."""
        self._control: dict[Path, ControlServer] = {}
        """The control socket, and those at the places of earlier generations."""
        self._kept_sockets = KeptSockets()
        self._watchdog: asyncio.Task[None] | None = None
        self._with_interface(gateway)

    def _with_interface(self, gateway: Gateway) -> Gateway:
        """Let the console of ``gateway`` answer for this daemon."""
        if gateway.console is not None and (settings := gateway.settings.console) is not None:
            gateway.console.console.interface = partial(_interface, self._here, settings)
        return gateway

    @property
    def _running(self) -> RunningGateway:
        return self._generations.current

    async def run(self) -> int:
        """Start, serve and stop. Return the exit code."""
        loop = asyncio.get_running_loop()
        acts: dict[int, signals.Act] = {
            signal.SIGHUP: lambda: loop.call_soon_threadsafe(self._hang_up),
            signal.SIGUSR1: _reopen_log,
        }
        signals.listen(lambda: loop.call_soon_threadsafe(self._end_at_signal), self._force, acts)
        Watch(loop).start()
        self._keep_alive()
        try:
            ready = await _unless(self._stop, self._install())
        except (StartupFailed, StoreUnavailable, OSError) as error:
            logger.error("cannot start: %s", error)
            await self._running.abort()
            return CANNOT_START
        if not ready:
            notify("STOPPING=1")
            await self._running.abort()
            logger.info("stopped before it was ready")
            return OK
        await self._listen_to_commands()
        self._tasks.spawn(self._here.rates.keep(), name="rates")
        await self._greet()
        await self._become_daemon()
        self._is_ready = True
        setup.started()
        keep_freed()
        if self._samples is not None:
            self._tasks.spawn(self._try(self._samples), name="samples")
        await self._stop.wait()
        self._is_ready = False
        await self._generations.stop()
        await (self._give_way() if self._has_successor else self._end())
        return OK

    def _print(self, text: str) -> None:
        """Print a line of the banner, or log it: under ``format: json`` every line of the process is a record."""
        if self._running.gateway.settings.log.format == "json":
            logger.info("%s", " ".join(text.split()))
        else:
            self._print_line(text)

    def _keep_alive(self) -> None:
        self._watchdog = self._tasks.spawn(keep_alive(), name="watchdog")

    async def _become_daemon(self) -> None:
        """Tell systemd that this process serves, and let it keep the sockets."""
        self._kept_sockets.update(self._running.gateway.listening)
        notify("READY=1")

    async def _listen_to_commands(self) -> None:
        if self._running.gateway.settings.log.arrivals and not self._recent.remembers:
            self._recent.start()
        if (place := _place(self._running.gateway)) in self._control:
            return
        self._control[place] = control = ControlServer(place, self._commands, self._commands.load, parent=self._parent)
        try:
            await control.start()
        except OSError as error:
            logger.warning(
                "no control socket, so that gateway tail cannot reach this gateway: %s", error.strerror or error
            )

    async def _succeeded(self) -> None:
        """Another generation serves. The place of the control socket may be another one: those who asked for this by
        the one before still get their answer."""
        gateway = self._running.gateway
        self._kept_sockets.update(gateway.listening)
        await self._listen_to_commands()
        head = banner.header(gateway.file, gateway.servers, gateway.app, gateway.settings.application)
        self._print(f"{head}, generation {self._generations.number}")

    def _hang_up(self) -> None:
        """SIGHUP: read the file again."""
        if not self._is_ready:
            logger.warning("SIGHUP: the file is not read again, because the gateway starts or stops")
        elif not self._generations.can_reload:
            logger.warning("SIGHUP: this gateway has no file that could be read again")
        else:
            self._tasks.spawn(self._generations.reload(why="SIGHUP"), name="SIGHUP")

    async def _install(self) -> None:
        self._kept_sockets.restore(self._running.gateway.listening)
        await install(self._running)

    async def _greet(self) -> None:
        gateway = self._running.gateway
        store = await gateway.dispatcher.summary() if gateway.dispatcher is not None else ""
        kept = f"     store {engine_of(gateway.settings.store)}: {store}" if store else ""
        self._print(banner.header(gateway.file, gateway.servers, gateway.app, gateway.settings.application) + kept)
        for line in [*banner.server_lines(gateway.listening), *banner.route_lines(gateway.app, ROUTES_SHOWN)]:
            self._print(line)
        if hint := banner.try_line(gateway.servers, gateway.settings.servers, gateway.app, self._command):
            self._print(hint)

    async def _try(self, file: Path) -> None:
        gateway, command = self._running.gateway, self._command or ""
        examples = banner.examples(gateway.servers, gateway.settings.servers, gateway.app, command)
        await send_samples(examples, command, file, self._print)

    def _end_at_signal(self) -> None:
        """A signal may be reported more than once, and a second one would force the next process to its end."""
        if self._code.successor is not None and not self._is_passed_on:
            self._is_passed_on = True
            self._code.successor.pass_on(signal.SIGTERM)
        self._stop.set()

    def _why_not_now(self) -> str:
        """Return why the file is not read again now; empty if it may be."""
        if self._code.is_busy:
            return "another process is taking over, which reads the file"
        return "" if self._is_ready else _STARTS_OR_STOPS

    async def _replace(self, within: float) -> int:
        """Start the next process. Raises Unavailable."""
        if self._generations.is_busy:
            raise Unavailable("the file is being read again; try again in a moment")
        if not self._is_ready and not self._code.is_busy:
            raise Unavailable(_STARTS_OR_STOPS)
        return await self._code.replace(within)

    def prepare_to_leave(self) -> None:
        self._kept_sockets.forget()

    def stay(self) -> None:
        self._kept_sockets.update(self._running.gateway.listening)
        for beside in self._control:
            remove_dead(beside)

    def leave(self) -> None:
        self._has_successor = True
        self._stop.set()

    async def _give_way(self) -> None:
        """End: another process serves, and reports to systemd."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        for control in self._control.values():
            control.retire()
        await self._running.give_way()
        await self._stop_listening(LAST_WORDS)  # the client learns about the next process
        await cancel_rest()
        if self._code.successor is not None:
            self._code.successor.leave()

    @property
    def _leaves_sockets(self) -> bool:
        """Whether what connects from now on waits for the next process."""
        return self._kept_sockets.are_kept

    async def _end(self) -> None:
        notify("STOPPING=1")
        await self._code.stop()
        if self._leaves_sockets:
            await self._running.settle()
        cancelled = await self._running.drain()
        await self._running.shut_down()
        await self._stop_listening()
        await cancel_rest()
        logger.info("stopped: %s", summary(cancelled, await self._running.close()))

    async def _stop_listening(self, grace: float = 0.0) -> None:
        for control in self._control.values():
            await control.stop(grace)

    def _force(self) -> None:
        if self._code.successor is not None:
            self._code.successor.pass_on(signal.SIGTERM, signal.SIGINT)
        force(lambda: listed(self._running.active()))


def _reopen_log() -> None:
    done = "the file of the log is opened again" if setup.reopen() else "the log has no file to open again"
    logger.warning("SIGUSR1: %s", done)


def _interface(here: Here, settings: ConsoleSettings, console: "Console") -> Application:
    """Return what answers at the console. It is imported with the first request."""
    found: Application = imported("gateway.console.http.app:interface")(here, settings, console)
    return found


def _place(gateway: Gateway) -> Path:
    """Return the file beside which the control socket is made: the store or, where there is none, gateway.yaml."""
    store, *rest = places(Path(), gateway.file, gateway.settings.store)
    return rest[-1] if rest and gateway.dispatcher is None else store


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Return whether ``work`` ended before ``stop`` was set; otherwise cancel it. Raises what ``work`` raises."""
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


def _ignoring_write_errors(print_line: Print) -> Print:
    """Ignore that the banner cannot be written: a full disk, or a pipe without a reader, is no reason to stop."""

    def print_if_possible(text: str) -> None:
        with contextlib.suppress(OSError):
            print_line(text)

    return print_if_possible
