"""The servers that live once: one worker has the lease of each, and the others stand by."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.config.carriers import carrier
from gateway.runtime.build import Gateway
from gateway.runtime.running import STANDBY, RunningGateway
from gateway.scopes.installed import KINDS, SERVERS
from gateway.store import LeaseStore, StoreUnavailable
from protocols.errors import BindError
from protocols.server import Server
from protocols.wakeup import Wakeup

logger = logging.getLogger(__name__)

LOOK_AGAIN = 0.5
"""Seconds between two looks at leases that other processes have. Workers of this machine say when they leave one."""


@dataclass
class Role:
    """Servers that live in one worker, together: a broker, and the http server that carries it."""

    lease: str
    servers: set[str] = field(default_factory=set)
    is_ours: bool = False


def roles_of(servers: Mapping[str, Any], once: set[str]) -> list[Role]:
    """Return the roles among ``servers``, which are settings; ``once``: the names of those that live once."""
    found: list[Role] = []
    for name in sorted(once):
        mount = carrier(servers[name])
        names = {name} if mount is None else {name, mount.on}
        joined = [each for each in found if each.servers & names]
        found = [each for each in found if each not in joined]
        found.append(Role("", names.union(*(each.servers for each in joined))))
    for each in found:
        each.lease = f"server {min(_identity(servers[name], name) for name in each.servers)}"
    return found


def _identity(settings: Any, name: str) -> str:
    return SERVERS[settings.protocol].identity(settings, name)


def make_roles(gateway: Gateway) -> list[Role]:
    """Let the servers that live once stand by, and return their roles."""
    once = {each.name for each in gateway.servers if each.exclusive}
    roles = roles_of(gateway.settings.servers, once)
    for role in roles:
        for server in _servers_of(gateway, role):
            server.status = STANDBY
    return roles


def _servers_of(gateway: Gateway, role: Role) -> Iterator[Server]:
    return (each for each in gateway.servers if each.name in role.servers)


class Roles:
    """Has the roles that this worker can get. ``inherit`` gives a server what it listens on; ``left`` says to other
    workers that there are leases to get."""

    def __init__(
        self,
        running: RunningGateway,
        roles: list[Role],
        inherit: Callable[[Server], Awaitable[None]],
        left: Callable[[], None],
    ) -> None:
        self._running = running
        self._roles = roles
        self._inherit = inherit
        self._left = left
        self._wakeup = Wakeup()
        self._changes = asyncio.Lock()
        self.stays_out = False
        """Whether it gets no more: another worker is about to take the place of this one."""
        self._update_lanes()

    @property
    def servers(self) -> set[str]:
        """The names of the servers that live once."""
        return {name for role in self._roles for name in role.servers}

    @property
    def _store(self) -> LeaseStore:
        dispatcher = self._running.gateway.dispatcher
        assert dispatcher is not None  # what lives once needs a store
        return dispatcher.deliveries.store

    def look(self) -> None:
        """There may be a lease to get."""
        self._wakeup.wake()

    @property
    def owner(self) -> str:
        """The owner's id of this process in the store; empty if it has none."""
        dispatcher = self._running.gateway.dispatcher
        return dispatcher.deliveries.store.owner if dispatcher is not None else ""

    async def take_over(self, dead: str) -> None:
        """The process with the owner's id ``dead`` has died, if that is not empty: look for its leases."""
        if dead and self.owner:
            with contextlib.suppress(StoreUnavailable):
                await self._store.bury(dead)
        self.look()

    async def begin(self) -> None:
        """Start the servers of all leases that are free now. Raises BindError or StoreUnavailable."""
        for role in self._roles:
            if await self._store.acquire(role.lease):
                await self._begin(role)

    async def keep(self) -> None:
        """Get leases, and start the servers of each, until this is cancelled."""
        if self._roles:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_looking())
                tasks.create_task(self._give_up_lost())

    async def _keep_looking(self) -> None:
        while True:
            for role in self._roles:
                async with self._changes:
                    if not role.is_ours and not self.stays_out:
                        await self._try(role)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._wakeup.wait()

    async def _give_up_lost(self) -> None:
        while True:
            await self._store.wait_lost()
            logger.warning("other processes took this worker for dead: its servers that live once stop here")
            await self._leave_all()

    async def _try(self, role: Role) -> None:
        try:
            if not await self._store.acquire(role.lease):
                return
            await self._begin(role)
        except (BindError, StoreUnavailable) as error:
            logger.error("%s; it is tried again", error)
            await self._end(role)
            await asyncio.sleep(LOOK_AGAIN)

    async def _begin(self, role: Role) -> None:
        """Raises BindError."""
        role.is_ours = True
        for server in list(_servers_of(self._running.gateway, role)):
            await self._running.begin(server, self._inherit)
        self._update_lanes()
        logger.info("this worker has %s now", ", ".join(sorted(role.servers)))

    async def leave(self) -> None:
        """Stop the servers, and leave the leases to others, for good."""
        self.stays_out = True
        await self._leave_all()

    async def _leave_all(self) -> None:
        async with self._changes:
            ours = [role for role in self._roles if role.is_ours]
            for role in ours:
                await self._end(role)
        if ours:
            self._left()

    async def _end(self, role: Role) -> None:
        role.is_ours = False
        self._update_lanes()
        await self._running.stand_by(role.servers)
        dispatcher = self._running.gateway.dispatcher
        with contextlib.suppress(StoreUnavailable):
            if dispatcher is not None and not any(each.is_ours for each in self._roles):
                await dispatcher.release_namespaces()
            await self._store.release_lease(role.lease)

    def _update_lanes(self) -> None:
        """Let the outbox leave to other workers what leaves by a server that is not here."""
        gateway = self._running.gateway
        if gateway.dispatcher is not None:
            here = gateway.dispatcher.deliveries
            servers = [each for role in self._roles if not role.is_ours for each in _servers_of(gateway, role)]
            kinds = [(each.name, KINDS[type_].delivery) for each in servers for type_ in each.scope_types]
            here.absent = {delivery.lane(name) for name, delivery in kinds if delivery is not None}
            here.outgoing.notify()
