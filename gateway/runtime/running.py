"""Starts what ``build`` made, lets another gateway take over from it, and stops it.

A gateway runs in the context of its services. So several can run in one process, and one can be the successor of
another.
"""

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Protocol
from weakref import WeakSet

from gateway.arrivals import Arrivals, arrivals
from gateway.counts import counted, run_counts
from gateway.event_sender import sender
from gateway.layers import OpenedLayer, channel_layer
from gateway.logs import setup
from gateway.logs.arrivals import log
from gateway.runtime.build import Gateway
from gateway.runtime.importing import place_of
from gateway.runtime.progress import listed, logged_wait
from gateway.services import Services, entered
from gateway.succession import succession
from gateway.threads import thread_pool
from protocols.errors import BindError, describe_error
from protocols.lazy_names import imported
from protocols.server import Record, Server, ServerStatus
from protocols.tasks import LAST_WORDS, Tasks
from protocols.units import TCP, BindAddress, Unix

logger = logging.getLogger(__name__)


BATCH, BATCH_BYTES = 500, 256 * 1024
"""Records, and their bytes, that pass to a successor in one part; a larger one is a part of its own."""
CONSOLE_GRACE = 2.0
"""Seconds for which requests to the console that are under way go on at its end: a scrape must not fail at a reload."""


STANDBY = ServerStatus("standby", "another worker has it")


class Predecessor(Protocol):
    """A gateway that serves, and gives way to another one: in this process, or in another."""

    file: str
    has_successor: bool
    older: "set[asyncio.Task[None]]"
    """The ends of the gateways that it has replaced, and that have not ended."""

    def lend(self, made: Server) -> Server | None:
        """Return the server that goes on in the place of ``made``, with its connections; None if there is none."""

    async def sockets_of(self, name: str, bind: BindAddress) -> Sequence[socket.socket]:
        """Return copies of the sockets that listen on ``bind``, for the successor's server ``name``; none if it has no
        such address."""

    async def stop_delivering(self) -> None:
        """Take nothing more from the store: a message of a route that only the successor has would find none here."""

    async def release_exclusive(self) -> None:
        """Stop the servers that a successor cannot have beside these, ready to start others in their place."""

    def state_of(self, name: str) -> AsyncIterator[Sequence[Record]]:
        """Yield, in parts, what the exclusive server ``name`` had that is kept nowhere else. After
        :meth:`release_exclusive`."""

    async def resume(self) -> None:
        """Go on, since the successor has not come up: deliver what is stored, and start the exclusive servers again."""

    async def give_way(self) -> None:
        """End, now that a successor serves: what came here is finished here."""


class RunningGateway:
    """Starts ``gateway`` with :meth:`start` or :meth:`take_over`, and ends it with :meth:`drain`, :meth:`shut_down` and
    :meth:`close`, in this order."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.file = gateway.file
        self.succession = gateway.services[succession]
        self._grace = gateway.settings.shutdown_timeout
        self._started: list[Server] = []
        self._spares: list[tuple[Server, Server]] = []
        """Each server that was stopped for a successor, and the one that starts in its place if that does not come."""
        self._standing_by: dict[str, Server] = {}
        """What takes the place of each server that :meth:`begin` has started, when that stops; by their name."""
        self._lent: list[Server] = []
        """Servers that go on with the successor."""
        self.waits_for: dict[asyncio.Future[Any], str] = {}
        """What runs the application over a connection of one of those -> the name of its server."""
        self.earlier: WeakSet[asyncio.Future[Any]] = WeakSet()
        """What runs applications of earlier gateways on servers that have gone on."""
        self._tasks = Tasks("replaced")
        self.older: set[asyncio.Task[None]] = set()
        self.has_successor = False
        self._ends_soon = asyncio.Event()
        self._hint = "; Ctrl+C again to stop now"

    async def start(self) -> None:
        """Raises StartupFailed, StoreUnavailable or BindError; then :meth:`abort` ends what was started."""
        self.succession.begin(self.gateway)
        with entered(self.gateway.services):
            if self.gateway.console is not None:  # it answers that the rest is not ready yet
                await self._bind([self.gateway.console])
            await self._start_application()
            self._deliver()
            await self._bind(each for each in self.gateway.servers if not each.stands_by)

    async def begin(self, server: Server, prepare: Callable[[Server], Awaitable[None]]) -> None:
        """Start a server that stands by, once ``prepare`` has seen it. Raises BindError; then it still stands by, or
        another one does in its place."""
        try:
            spare = self.gateway.servers.make(server.name)  # before: to give it up must not fail
        except ValueError as error:
            raise BindError(str(error)) from error
        spare.status = STANDBY
        server.status = ServerStatus("starting")
        try:
            await prepare(server)
            with entered(self.gateway.services):
                await self._bind([server])
        except BaseException:  # also where it is cancelled
            await _abandon(server)
            self.gateway.servers.put(spare)
            raise
        self._standing_by[server.name] = spare

    async def stand_by(self, names: Collection[str]) -> None:
        """Stop the servers that have these names, and let others stand by in their places."""
        stopped = [each for each in self._started if each.name in names and each in self.gateway.servers]
        await asyncio.gather(*(each.retire() for each in stopped))
        await asyncio.gather(*(_stop(each, self._grace) for each in stopped))
        self._started = [each for each in self._started if each not in stopped]
        for each in stopped:
            self.gateway.servers.put(self._standing_by.pop(each.name))

    async def take_over(self, predecessor: Predecessor) -> None:
        """Start in the place of ``predecessor``. Raises as :meth:`start` does, and RuntimeError where another one has
        begun to, or ``predecessor`` is this one.

        Servers that can go on in this gateway pass over with all their connections; what is under way on those goes on
        with the application that it began with. Of all others the listening sockets of each address that both have pass
        over, so that no connection is refused. What cannot
        exist twice (a mailbox, a session at a broker, an MQTT server's stored state) is stopped there before it starts
        here. If this fails or is cancelled, the predecessor goes on, and starts them again. :meth:`give_way` ends it.
        """
        if self is predecessor or predecessor.has_successor:
            raise RuntimeError(f"{predecessor.file} is being replaced already")
        predecessor.has_successor = True
        self.succession.begin(self.gateway)
        if isinstance(predecessor, RunningGateway):  # its counters go on in this process
            self.succession.follow(predecessor.succession)
        try:
            await self._take_over(predecessor)
        except BaseException:  # also where it is cancelled
            predecessor.has_successor = False
            self.succession.end(self.gateway)
            raise

    async def _take_over(self, predecessor: Predecessor) -> None:
        with entered(self.gateway.services):
            await self._start_application()
            try:
                lent = self._borrowed(predecessor)
                servers = [server for server in self.gateway.listening if server not in lent]
                for server in servers:
                    if server.listener is not None:
                        server.listener.inherit(await predecessor.sockets_of(server.name, server.listener.bind))
                await predecessor.stop_delivering()
                await self._bind(server for server in servers if not server.exclusive)
                await predecessor.release_exclusive()
                exclusive = [server for server in servers if server.exclusive]
                for server in exclusive:
                    async for records in predecessor.state_of(server.name):
                        server.inherit(records)
                await self._bind(exclusive)
            except BaseException:  # also where it is cancelled
                await self._stop_exclusive()
                await predecessor.resume()
                await self._retire()
                await self._stop_servers(self._grace)  # they may have accepted something meanwhile
                raise
            if isinstance(predecessor, RunningGateway):
                await _to_its_end(self._go_on(lent, predecessor))
            self._deliver()

    def _borrowed(self, predecessor: Predecessor) -> dict[Server, Server]:
        """Return the servers that go on, by those that were made in their place. Raises BindError."""
        lent: dict[Server, Server] = {}
        for made in self.gateway.servers:
            if (running := predecessor.lend(made)) is not None:
                try:
                    made.prepare()
                except BindError as error:
                    raise BindError(f"servers.{made.name}: {error}") from error
                lent[made] = running
        return lent

    async def _go_on(self, lent: Mapping[Server, Server], predecessor: "RunningGateway") -> None:
        """Let the servers serve this gateway from now on. Nothing of this fails."""
        for made, running in lent.items():
            under_way = set(running.under_way())  # in one step with the change of the application
            predecessor.waits_for.update(dict.fromkeys(under_way - set(predecessor.earlier), running.name))
            self.earlier.update(under_way)
            try:
                with self._counting(made):
                    await running.become(made)
            except Exception:  # a bug: the server cannot go back, and serves the new application
                logger.exception("%s does not follow its new settings", running.name)
            self._started.append(running)
            self.gateway.servers.put(running)
            predecessor.gateway.servers.leave(running.name)
        self.gateway.servers.follow(predecessor.gateway.servers)

    def lend(self, made: Server) -> Server | None:
        for server in self._started:
            if server.status.state not in ("draining", "stopped") and server.can_become(made):
                self._lent.append(server)
                return server
        return None

    async def sockets_of(self, name: str, bind: BindAddress) -> Sequence[socket.socket]:
        for server in self._started:
            if server.listener is not None and _is_same_address(server, name, bind):
                return server.listener.copies()
        return ()

    async def stop_delivering(self) -> None:
        if self.gateway.dispatcher is not None:
            self.gateway.dispatcher.retire()

    async def release_exclusive(self) -> None:
        for server in self._started:
            if server.exclusive and server not in self._lent:
                self._spares.append((server, spare := self.gateway.servers.make(server.name)))
                if server.listener is not None and spare.listener is not None:
                    spare.listener.inherit(server.listener.copies())
        await self._stop_exclusive()

    async def state_of(self, name: str) -> AsyncIterator[Sequence[Record]]:
        for stopped, _ in self._spares:
            if stopped.name == name:
                for records in batched(stopped.hand_over()):
                    yield records
                    await asyncio.sleep(0)

    async def _stop_exclusive(self) -> None:
        exclusive = [server for server in self._started if server.exclusive and server not in self._lent]
        await asyncio.gather(*(server.retire() for server in exclusive))
        await asyncio.gather(*(_stop(server, self._grace) for server in exclusive))
        self._started = [server for server in self._started if server not in exclusive]
        if self.gateway.dispatcher is not None:
            await self.gateway.dispatcher.release_namespaces()

    async def resume(self) -> None:
        self._lent.clear()
        if self.gateway.dispatcher is not None:
            self.gateway.dispatcher.resume()
        if any(stopped in self._started for stopped, _ in self._spares):  # stopping them was cancelled
            await self._stop_exclusive()
        with entered(self.gateway.services):
            while self._spares:
                await self._start_again(*self._spares.pop(0))

    async def _start_again(self, stopped: Server, spare: Server) -> None:
        file = self.gateway.file
        for records in batched(stopped.hand_over()):
            spare.inherit(records)
            await asyncio.sleep(0)
        try:
            await self._bind([spare])
        except BindError as error:
            await _abandon(spare)
            stopped.status = ServerStatus("stopped", f"it could not start again: {error}")
            logger.error("%s goes on without %s: it could not start again: %s", file, stopped.name, error)
        else:
            self.gateway.servers.put(spare)
            logger.warning("%s goes on: its successor did not start; %s was started again", file, spare.name)

    def replaces(self, predecessor: Predecessor) -> None:
        """Let ``predecessor`` finish what it has accepted, and end. The process does not end before it."""
        older, predecessor.older = predecessor.older, set()  # it can end before those, and be freed
        ending = self._tasks.spawn(predecessor.give_way(), name=predecessor.file)
        self.older = {ending, *(each for each in older if not each.done())}

    async def predecessor_ended(self) -> None:
        """Wait until the gateways before have ended."""
        if self.older:
            await asyncio.wait(self.older)

    async def give_way(self) -> None:
        self._hint = ""
        if self.gateway.console is not None:
            self.gateway.console.console.is_replaced = True
        for _, spare in self._spares:
            await _abandon(spare)
        self._started = [server for server in self._started if server not in self._lent]
        await self._retire()
        cancelled = await self.drain()
        await self._finish_console_work()
        await self.shut_down()
        await self._keep_counters()
        kept = await self.close()
        logger.info("%s was replaced: %s", self.gateway.file, summary(cancelled, kept))

    async def _finish_console_work(self) -> None:
        """Wait for what operators have begun at the console, such as a change of a million messages. It works on the
        gateway that serves now. The process does not wait for it: see :meth:`hasten`."""
        if self.gateway.console is None:
            return
        finished = asyncio.ensure_future(self.gateway.console.console.finished())
        hastened = asyncio.ensure_future(self._ends_soon.wait())
        try:
            await asyncio.wait({finished, hastened}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            finished.cancel()
            hastened.cancel()

    def hasten(self) -> None:
        """Do not wait for what operators have begun at the console: the process ends."""
        self._ends_soon.set()

    async def _keep_counters(self) -> None:
        keep = await asyncio.to_thread(imported, "gateway.metrics.process:keep")  # no scrape may have asked for any yet
        await keep(self.succession, self.gateway)

    def active(self) -> dict[str, int]:
        """Count what is being worked on, by noun."""
        total = Counter[str]()
        for server in self._without_console():
            total.update(server.active())
        if self.gateway.dispatcher is not None:
            total.update(self.gateway.dispatcher.active())
        return {noun: number for noun, number in total.items() if number}

    def connections(self) -> dict[str, int]:
        """Count, by the name of the server, what keeps this gateway from its end once it is replaced: connections, runs
        of the application on servers that have gone on with the successor, and what operators have begun at the
        console."""
        total = Counter(name for run, name in self.waits_for.items() if not run.done())
        for server in self._without_console():
            listener = server.listener
            total[server.name] += listener.connections if listener is not None else sum(server.active().values())
        if self.gateway.console is not None:
            total["console"] = self.gateway.console.console.unfinished
        return {name: number for name, number in total.items() if number}

    async def settle(self) -> None:
        """Leave new connections to the next process, which gets the sockets: what has been accepted, such as a
        connection in its TLS handshake or one whose request is on its way, is served here. The path of a Unix socket
        is free at the end, and its server stops as always."""
        kept = [
            each for each in self._started if each.listener is not None and not isinstance(each.listener.bind, Unix)
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                await asyncio.gather(*(server.retire() for server in kept))

    async def drain(self) -> str:
        """Accept nothing more, and wait for what is in flight. Return what was cancelled after ``shutdown_timeout``."""
        cancelled: list[str] = []
        loop = asyncio.get_running_loop()
        # Asked for before the servers set their own timers, so that it sees what they are about to cancel.
        deadline = loop.call_later(self._grace, lambda: cancelled.append(listed(self.active())))
        async with logged_wait(lambda: listed(self.active()), self._grace, hint=self._hint):
            await self._stop_servers(self._grace)
            await self.predecessor_ended()
        deadline.cancel()
        return "".join(cancelled)

    async def abort(self) -> None:
        """End everything at once: the start has failed, or is no longer wanted."""
        await self._stop_servers(0.0)
        for server in self.gateway.listening:
            if server not in self._started:
                await _abandon(server)
        await self.shut_down()
        await self.close()

    async def shut_down(self) -> None:
        """End the application, with what it still sends, and then the console."""
        lifespan = self.gateway.lifespan
        async with logged_wait(lambda: "the application's shutdown", lifespan.timeout, after=1.0, hint=self._hint):
            await lifespan.shutdown()
        await self.gateway.services[sender].stop(LAST_WORDS)
        if self.gateway.console is not None:
            await _stop(self.gateway.console, CONSOLE_GRACE)

    async def close(self) -> str:
        """End the threads, and close connections and the store; no listener gets arrivals any more. Return what it
        keeps for the next start, in a few words."""
        if self.gateway.submission is not None:
            await self.gateway.submission.close()
        self.gateway.services[thread_pool].shutdown(wait=False)
        self.gateway.services[arrivals].close()
        kept = await self.gateway.dispatcher.close() if self.gateway.dispatcher is not None else ""
        await self._close_layer()
        if self.gateway.tracing is not None:
            await self.gateway.tracing.close()
        return kept

    async def _close_layer(self) -> None:
        """Disconnect the channel layer, unless another gateway of this process has the same one."""
        layer = self.gateway.services[channel_layer]
        others = [each for each in self.succession.running if each is not self.gateway]
        if isinstance(layer, OpenedLayer) and all(each.services[channel_layer] is not layer for each in others):
            await layer.close()

    async def _start_application(self) -> None:
        gateway = self.gateway
        if gateway.dispatcher is not None and (found := await gateway.dispatcher.open()):
            logger.warning("store: %s", found)
        if isinstance(layer := gateway.services[channel_layer], OpenedLayer):
            await layer.open()
        gateway.services[sender].start()
        gateway.services[arrivals].begin()
        if gateway.settings.log.arrivals:
            gateway.services[arrivals].listen_once(log)
        setup.adopt(gateway.settings.log)  # loggers that an import has set up
        await gateway.lifespan.startup()
        setup.adopt(gateway.settings.log)  # and those that the application has set up now

    def _deliver(self) -> None:
        if self.gateway.dispatcher is not None:
            self.gateway.dispatcher.start(self.gateway.outlets)

    async def _bind(self, servers: Iterable[Server]) -> None:
        """Raises BindError with the place in the file."""
        for server in servers:
            place = "console" if server is self.gateway.console else f"servers.{server.name}"
            try:
                with entered(self._services_of(server)), self._counting(server):
                    await server.start()
            except OSError as error:
                reason = str(error) if isinstance(error, BindError) else error.strerror or error
                raise BindError(f"{place}: {reason}") from error
            except Exception as error:  # a mistake in a server of another distribution, or in ours
                logger.debug("%s did not start", place, exc_info=error)
                raise BindError(f"{place}: its start failed{place_of(error)}: {describe_error(error)}") from error
            self._started.append(server)

    def _services_of(self, server: Server) -> Services:
        """Return the services that ``server`` has. A request to the console is no arrival: a page that shows arrivals
        would make some."""
        own = self.gateway.services
        return own if server is not self.gateway.console else {**own, arrivals: Arrivals()}

    def _counting(self, server: Server) -> contextlib.AbstractContextManager[None]:
        """Count the runs of ``server``, but not those of the console."""
        if server is self.gateway.console:
            return contextlib.nullcontext()
        return counted(self.gateway.services[run_counts].of(server.name))

    async def _retire(self) -> None:
        """Leave new connections to the other gateway that has the sockets."""
        await asyncio.gather(*(server.retire() for server in self._started))

    async def _stop_servers(self, grace: float) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + grace
        await asyncio.gather(*(_stop(server, grace) for server in self._without_console()))
        if self.waits_for:  # its connections are the successor's, which ends them if it has to
            await asyncio.wait(self.waits_for)
            ends = loop.time() + grace
        if self.gateway.dispatcher is not None:
            await self.gateway.dispatcher.stop(max(0.0, ends - loop.time()))

    def _without_console(self) -> list[Server]:
        return [server for server in self._started if server is not self.gateway.console]


def batched(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield the records in parts that neither memory nor the event loop notices."""
    part: list[Record] = []
    size = 0
    for key, value in records:
        part.append((key, value))
        size += len(key) + len(value)
        if len(part) >= BATCH or size >= BATCH_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for ``work``, which cannot be left half done: a cancellation meanwhile has no effect."""
    working, own = asyncio.ensure_future(work), asyncio.current_task()
    while not working.done():
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            if own is not None:
                own.uncancel()


def _is_same_address(server: Server, name: str, bind: BindAddress) -> bool:
    """Port 0 is the same address only for servers of one name."""
    if server.listener is None or server.listener.bind != bind:
        return False
    return not isinstance(bind, TCP) or bind.port != 0 or server.name == name


def summary(cancelled: str, kept: str) -> str:
    """``0 lost, 3 kept for retry``."""
    return ", ".join([f"{cancelled} cancelled" if cancelled else "0 lost", *([kept] if kept else [])])


async def _stop(server: Server, grace: float) -> None:
    try:
        await server.stop(grace)
    except Exception:
        logger.exception("%s did not stop cleanly", server.name)


async def _abandon(server: Server) -> None:
    """Give up a server that has not started: it may have sockets, and tasks of a start that failed half-way."""
    with contextlib.suppress(Exception):  # it need not expect to be stopped now
        await server.stop(0.0)
    if server.listener is not None:
        server.listener.stop()
