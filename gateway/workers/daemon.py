"""The daemon of a worker."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

from gateway.console.operations.status import memory
from gateway.control.server import Unavailable
from gateway.reload.errors import HandOverFailed
from gateway.runtime.build import Gateway
from gateway.runtime.daemon import Daemon, Print
from gateway.runtime.generations import Again
from gateway.runtime.install import install
from gateway.runtime.process import cancel_rest
from gateway.store import StoreUnavailable, engine_of
from gateway.succession import succession
from gateway.workers.link import Link
from gateway.workers.roles import Roles, make_roles
from protocols.lazy_names import imported
from protocols.lifespan import StartupFailed
from protocols.server import Server
from protocols.tasks import LAST_WORDS
from protocols.units import TCP

logger = logging.getLogger(__name__)

BEAT = 1.0
"""Seconds between two signs of life for the parent."""


class WorkerDaemon(Daemon):
    """Runs ``gateway`` as one of several workers, until the parent or a signal ends it."""

    def __init__(
        self, gateway: Gateway, print_line: Print, command: str, link: Link, *, samples: Path | None, again: Again
    ) -> None:
        super().__init__(gateway, print_line, command, samples=samples if link.is_first else None, again=again)
        self._link = link
        self._parent = link.parent
        self._succession = gateway.services[succession]
        self._succession.gather = link.gather
        self._generations.roll = link.roll
        self._generations.number = link.generation
        self._roles = Roles(self._running, make_roles(gateway), self._inherit, lambda: self._link.say("leases"))
        self._is_rung = False
        self._counted: Any = None
        """What it had counted when it began to leave."""

    def _keep_alive(self) -> None:
        self._tasks.spawn(self._listen(), name="the parent")
        self._tasks.spawn(self._beat(), name="signs of life")

    async def _listen(self) -> None:
        """Do what the parent says. If it has ended, so does this."""
        await self._link.listen(
            {
                "give_way": self._begin_to_leave,
                "stay_out": lambda: setattr(self._roles, "stays_out", True),
                "join_in": self._join_in,
                "leases": self._roles.look,
                "ring": self._ring_here,
                "hang_up": self._hang_up,
            }
        )
        if not self._stop.is_set():
            logger.error("stopping: the parent process has ended")
            self._stop.set()

    def _join_in(self) -> None:
        self._roles.stays_out = False
        self._roles.look()

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(HandOverFailed):  # the parent was stopped, and may go on
                self._link.say("alive", memory=memory())
            await asyncio.sleep(BEAT)

    async def _install(self) -> None:
        try:
            await self._start()
        except (StartupFailed, StoreUnavailable, OSError) as error:
            self._link.say("failed", why=str(error))
            raise

    async def _start(self) -> None:
        """Raises StartupFailed, StoreUnavailable or BindError."""
        gateway = self._running.gateway
        if gateway.dispatcher is not None and not self._link.is_first:
            # Workers of an earlier release could not open it again.
            engine_of(gateway.settings.store).check_shared()
        for server in gateway.listening:
            if server.status.state != "standby":
                await self._inherit(server)
        await install(self._running)
        if gateway.dispatcher is not None:
            gateway.dispatcher.deliveries.outgoing.listen(self._ring)
        if self._link.is_first:
            await self._roles.begin()

    async def _inherit(self, server: Server) -> None:
        """Let ``server`` listen on the sockets of this worker's slot. Raises BindError."""
        if (listener := server.listener) is None:
            return
        bind = listener.bind
        sockets = await self._link.sockets(
            bind=str(bind),
            server=server.name if isinstance(bind, TCP) and not bind.port else "",
            once=server.name in self._roles.servers,
            backlog=listener.backlog,
            private=listener.is_private,
        )
        listener.inherit(sockets, are_kept=True)

    async def _greet(self) -> None:
        if self._link.is_first:
            await super()._greet()

    async def _become_daemon(self) -> None:
        self._tasks.spawn(self._roles.keep(), name="roles")
        control = next((each.path for each in self._control.values() if each.path), "")
        self._link.say("ready", control=control)

    # Wakes the outboxes of other workers.

    def _ring(self) -> None:
        """Something to send was committed. If it may leave by a server of another worker, wake that."""
        dispatcher = self._running.gateway.dispatcher
        if dispatcher is not None and dispatcher.deliveries.absent and not self._is_rung:
            self._is_rung = True
            asyncio.get_running_loop().call_soon(self._ring_others)

    def _ring_others(self) -> None:
        self._is_rung = False
        self._link.say("ring")

    def _ring_here(self) -> None:
        if (dispatcher := self._running.gateway.dispatcher) is not None:
            was_rung, self._is_rung = self._is_rung, True  # another worker has rung: all others know
            dispatcher.deliveries.outgoing.notify()
            self._is_rung = was_rung

    # Reload, and the end.

    async def _replace(self, within: float) -> int:
        if why := await self._link.roll(within=within):
            raise Unavailable(why)
        return self._link.parent

    def _begin_to_leave(self) -> None:
        """Another worker serves in this slot. An operator that has asked for that here still gets the answer."""
        self._tasks.spawn(self._leave(), name="leave")

    async def _leave(self) -> None:
        read: Any = await asyncio.to_thread(imported, "gateway.metrics.workers:of_process")
        self._counted = await read(self._succession)  # while the servers that live once are here
        await self._roles.leave()
        await self._generations.idle()
        self.leave()

    async def _give_way(self) -> None:
        for control in self._control.values():
            control.retire()
        await self._running.give_way()
        last: Any = await asyncio.to_thread(imported, "gateway.metrics.workers:last")
        await self._link.last(last(self._succession, self._counted))
        await self._stop_listening(LAST_WORDS)
        await cancel_rest()

    @property
    def _leaves_sockets(self) -> bool:
        return self._link.sockets_stay or super()._leaves_sockets

    async def _end(self) -> None:
        self._roles.stays_out = True
        await super()._end()
