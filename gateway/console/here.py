"""The gateway that operations look at and change."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from gateway.config.settings import Settings
from gateway.console.rates import Counters, RouteRates
from gateway.console.sessions import Sessions
from gateway.control.recent import Recent
from gateway.counts import run_counts
from gateway.delivery.dispatcher import Dispatcher
from gateway.delivery.service import deliveries
from gateway.services import Service, Services
from gateway.succession import Gather, Neighbours, succession
from protocols.access.logins import Logins
from protocols.asgi import Application
from protocols.server import Server

T = TypeVar("T")


class Console(Protocol):
    """What answers at a console."""

    @property
    def logins(self) -> Logins | None: ...


class ConsoleServer(Protocol):
    """The server of a console: a :class:`gateway.runtime.health.ConsoleServer`."""

    @property
    def console(self) -> Console: ...


class Gateway(Protocol):
    """What operations use of a :class:`gateway.runtime.build.Gateway`."""

    @property
    def file(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def app(self) -> Application: ...
    @property
    def servers(self) -> Collection[Server]: ...
    @property
    def console(self) -> ConsoleServer | None: ...
    @property
    def services(self) -> Services: ...
    @property
    def dispatcher(self) -> Dispatcher | None: ...


class Reload(Protocol):
    """What came of a reload: a :class:`gateway.runtime.generations.Reload`."""

    @property
    def result(self) -> str: ...
    def facts(self) -> Mapping[str, Any]: ...


class Older(Protocol):
    """A generation that was replaced and has not ended: a :class:`gateway.runtime.generations.Older`."""

    @property
    def number(self) -> int: ...
    @property
    def replaced(self) -> float: ...
    def connections(self) -> Mapping[str, int]: ...


class Generations(Protocol):
    """What operations use of a :class:`gateway.runtime.generations.Generations`."""

    @property
    def number(self) -> int: ...
    @property
    def last(self) -> Reload | None: ...
    @property
    def older(self) -> Sequence[Older]: ...
    @property
    def can_reload(self) -> bool: ...
    async def reload(self, *, check: bool = False, force: bool = False) -> Reload: ...
    async def reconnect(self, rate: int, told: Callable[[int, int], None]) -> None: ...


def counters_of(gateway: Gateway) -> Counters:
    return Counters(gateway.services[run_counts], gateway.services.get(deliveries))


class Here:
    """A daemon, as operations see it."""

    def __init__(
        self,
        gateway: Callable[[], Gateway],
        recent: Recent,
        generations: Generations | None = None,
        replace: Callable[[float], Awaitable[int]] | None = None,
    ) -> None:
        """``gateway`` returns the one that serves now: a reload may put another one in its place. ``recent`` remembers
        its arrivals. ``replace`` starts the next process, see :class:`gateway.runtime.code_reload.CodeReload`."""
        self._gateway = gateway
        self.recent = recent
        self.generations = generations
        self.replace = replace
        self.sessions = Sessions()
        self.rates = RouteRates(lambda: map(counters_of, self.gateways))
        self.started = time.time()

    @property
    def gateway(self) -> Gateway:
        return self._gateway()

    @property
    def gateways(self) -> Sequence[Gateway]:
        """Return those that run, the newest first: also those that were replaced and still have connections."""
        line = self.gateway.services.get(succession)
        return line.running if line is not None else [self.gateway]

    @property
    def gather(self) -> Gather | None:
        """Asks all workers of this gateway; None if this process is the only one."""
        line = self.gateway.services.get(succession)
        return line.gather if line is not None else None

    @property
    def neighbours(self) -> Neighbours | None:
        """Finds the other workers of this gateway; None if this process is the only one."""
        line = self.gateway.services.get(succession)
        return line.neighbours if line is not None else None

    @property
    def logins(self) -> Logins | None:
        """What checks the passwords of the console's users now; None if it has no users."""
        console = self.gateway.console
        return console.console.logins if console is not None else None

    def service(self, wanted: Service[T]) -> T:
        """Return a service of the gateway that serves now. Raises LookupError."""
        found: T | None = self.gateway.services.get(wanted)
        if found is None:
            raise LookupError(f"this gateway has no {wanted.name}")
        return found
