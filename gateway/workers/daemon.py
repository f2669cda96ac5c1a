"""The daemon of a worker."""

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Any

from gateway.console.operations.status import memory
from gateway.control.place import process_of, sockets
from gateway.control.server import Unavailable
from gateway.reload.channel import Message
from gateway.runtime.build import Gateway
from gateway.runtime.daemon import Daemon, Print
from gateway.runtime.generations import Again
from gateway.runtime.install import install
from gateway.runtime.process import cancel_rest
from gateway.store import StoreUnavailable, engine_of
from gateway.succession import succession
from gateway.workers.bell import KINDS, Bell
from gateway.workers.link import Link
from gateway.workers.roles import Roles, make_roles
from protocols.lazy_names import imported
from protocols.lifespan import StartupFailed
from protocols.net.listener import Listener
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
        self._succession.neighbours = self._neighbours
        self._recent.slot, self._recent.workers = link.slot, gateway.settings.workers
        self._generations.roll = link.roll
        self._generations.number = link.generation
        self._here.sessions.tell = lambda login: link.say("login", login=login)
        self._succession.reloads.tell = lambda successful: link.say("reloaded", successful=successful)
        for each in link.logins:
            self._here.sessions.learn(each)
        self._roles = Roles(self._running, make_roles(gateway), self._inherit, lambda: self._link.say("leases"))
        self._bells = {each: Bell(partial(link.say, f"ring {each}")) for each in KINDS}
        self._counted: Any = None
        """What it had counted when it began to leave."""

    def _keep_alive(self) -> None:
        self._tasks.spawn(self._listen(), name="the parent")
        self._tasks.spawn(self._beat(), name="signs of life")

    async def _listen(self) -> None:
        """Do what the parent says. If it has ended, so does this."""
        await self._link.listen(
            {
                "give_way": lambda _: self._begin_to_leave(),
                "stay_out": lambda _: setattr(self._roles, "stays_out", True),
                "join_in": lambda _: self._join_in(),
                "leases": self._look_for_leases,
                "reloaded": lambda message: self._succession.reloads.learn(message["successful"]),
                "login": lambda message: self._here.sessions.learn(message["login"]),
                **{f"ring {each}": partial(self._hear, each) for each in KINDS},
                **{f"rung {each}": partial(_answered, bell) for each, bell in self._bells.items()},
                "hang_up": lambda _: self._hang_up(),
            }
        )
        if not self._stop.is_set():
            logger.error("stopping: the parent process has ended")
            self._stop.set()

    def _neighbours(self) -> list[Path]:
        """The control sockets of the other workers."""
        own = {each.path for each in self._control.values()}
        there = [path for beside in self._control for path in sockets(beside)]
        return [each for each in there if process_of(each) == str(self._parent) and str(each.absolute()) not in own]

    def _look_for_leases(self, message: Message) -> None:
        self._tasks.spawn(self._roles.take_over(message.get("dead", "")), name="leases")

    def _join_in(self) -> None:
        self._roles.stays_out = False
        self._roles.look()

    async def _beat(self) -> None:
        while True:
            self._link.say("alive", memory=memory(), owner=self._roles.owner)
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
            if not server.stands_by:
                await self._inherit(server)
        await install(self._running)
        if gateway.dispatcher is not None:
            here = gateway.dispatcher.deliveries
            here.inbox.waiting.relay(self._bells["messages"].ring)
            here.outgoing.relay(lambda: self._bells["outgoing"].ring() if here.absent else None)
        if self._link.is_first:
            await self._roles.begin()

    async def _inherit(self, server: Server) -> None:
        """Let ``server`` listen on the sockets of this worker's slot. Raises BindError."""
        if (listener := server.listener) is not None:
            wanted = self._wanted(server, listener)
            sockets = await self._link.sockets(**wanted, backlog=listener.backlog, private=listener.is_private)
            listener.inherit(sockets, are_kept=True)

    def _wanted(self, server: Server, listener: Listener) -> dict[str, object]:
        """Return the fields of :class:`gateway.workers.sockets.Wanted` for ``server``."""
        bind = listener.bind
        name = server.name if isinstance(bind, TCP) and not bind.port else ""
        return {"bind": str(bind), "server": name, "once": server.name in self._roles.servers}

    async def _greet(self) -> None:
        if self._link.is_first:
            await super()._greet()

    async def _become_daemon(self) -> None:
        self._tasks.spawn(self._roles.keep(), name="roles")
        control = next((each.path for each in self._control.values() if each.path), "")
        listening = self._running.gateway.listening
        listens = [self._wanted(each, each.listener) for each in listening if each.listener is not None]
        self._link.say("ready", control=control, owner=self._roles.owner, listens=listens)

    def _hear(self, what: str, message: Message) -> None:
        """Another worker has put something into the store."""
        if (dispatcher := self._running.gateway.dispatcher) is not None:
            here = dispatcher.deliveries
            (here.inbox.waiting if what == "messages" else here.outgoing).hear()
        self._link.say(f"rung {what}")

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


def _answered(bell: Bell, message: Message) -> None:
    bell.answered()
