"""The interface of every protocol server: started, ready, drained, stopped."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, Self

from protocols.asgi import Application
from protocols.checkpoint import checkpoint
from protocols.lifespan import Lifespan
from protocols.net.listener import Listener
from protocols.net.tls import Certificate
from protocols.net.traffic import Traffic
from protocols.resources import MailboxFacts, Resource
from protocols.settings_config import SETTINGS_CONFIG
from protocols.tasks import Tasks

__all__ = ["SETTINGS_CONFIG", "Outdated", "Server", "ServerStatus"]

Record = tuple[str, bytes]
"""A key and its value."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The state of a server, for the banner and /readyz."""

    state: Literal["starting", "ready", "connecting", "draining", "stopped", "standby"]
    detail: str = ""
    """A few words for the operator: ``websocket too``, ``connection refused; next try in 2 s``."""

    @property
    def is_up(self) -> bool:
        """Whether the server serves, or stands by because it serves in another process."""
        return self.state in ("ready", "standby")


class Outdated(Protocol):
    """A connection that began with an earlier application of its server."""

    def reconnect(self, grace: float) -> None:
        """End the connection, and tell the peer that it may connect again at once. What has arrived is handled and
        answered first, for ``grace`` seconds at most. Nothing happens if the connection is ending already."""


class Server(ABC):
    """A protocol server over one ASGI application.

    Used alone (``async with MQTTServer(app, MQTTSettings(bind="127.0.0.1:1883")) as server: ...``) it also runs the
    application's lifespan; a daemon that runs several servers over one application runs it itself and passes ``state``.
    """

    protocol: ClassVar[str]
    """The protocol's name in gateway.yaml: ``http``, ``mqtt``, ``smtp`` ..."""
    scope_types: ClassVar[tuple[str, ...]]
    """The scope types that it makes."""
    listener: Listener | None = None
    """Where it listens. None: it is a client, or another server carries it."""
    exclusive: bool = False
    """Whether it lives only once: two of them would read one mailbox, or keep one state. A predecessor must have
    stopped before it starts, and of several workers one has it."""
    traffic: Traffic | None = None
    """The bytes that it has received and sent. None: it does not count them."""
    login_outcomes: Mapping[str, int] | None = None
    """How many logins of its clients had which outcome. None: it has no users."""
    refusal_reasons: Sequence[str] = ()
    """The usual ones of :attr:`refusals`: these are 0 from the start on in the metrics."""
    state_since = 0.0
    """The Unix time since which it is in the state that its status tells."""
    generation = 0
    """How often it has gone on as another one: see :meth:`become`."""
    times_ready = 0
    """How often it became ready: a client of an upstream connects again and again."""
    _status = ServerStatus("starting")

    def __init__(self, app: Application, *, name: str, state: dict[str, Any] | None = None) -> None:
        self.app = app
        self.name = name
        self.state_since = time.time()
        self.refusals: Counter[str] = Counter()
        """What it has refused before any application got it, by what the peer was told: a status, a reply code, a
        reason code."""
        self.tasks = Tasks(name)
        self._lifespan: Lifespan | None = None
        if state is None:
            self._lifespan = Lifespan(app)
            state = self._lifespan.state
        self.state = state

    @property
    def status(self) -> ServerStatus:
        return self._status

    @status.setter
    def status(self, status: ServerStatus) -> None:
        if status.state != self._status.state:
            self.state_since = time.time()
            self.times_ready += status.state == "ready"
        self._status = status

    @property
    def stands_by(self) -> bool:
        """Whether another worker or another host has it."""
        return self._status.state == "standby"

    def certificate(self) -> Certificate | None:
        """Return the certificate that it presents to clients, once it has started."""
        return self.listener.certificate if self.listener is not None else None

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it serves (``127.0.0.1:1883``), or what it is connected to (``imap.example.org``)."""

    @abstractmethod
    def active(self) -> dict[str, int]:
        """Count what is in flight, for the log line of draining: ``{"http": 3, "websocket": 1}``. Empty when idle."""

    def figures(self) -> dict[str, float]:
        """Return what only this protocol counts, by the names of the metrics without their prefix; each is there from
        the start."""
        return {}

    def mailboxes(self) -> Sequence[MailboxFacts]:
        """Return what is known of each mailbox that it reads; nothing for a server that reads none."""
        return ()

    @abstractmethod
    async def start(self) -> None:
        """Bind, or begin to connect (an unreachable server is not an error). Raises BindError.

        A server starts once: in the place of one that was stopped, another is made.
        """

    def can_become(self, made: "Server") -> bool:
        """Whether this server, which serves, can go on in the place of ``made``, which has not started. By default it
        cannot: ``made`` takes its place."""
        return False

    def is_where(self, made: "Server") -> bool:
        """Whether ``made`` is of the same kind and name, and listens at the same address."""
        if type(made) is not type(self) or made.name != self.name:
            return False
        own, other = self.listener, made.listener
        return own is other if own is None or other is None else own.bind == other.bind

    def prepare(self) -> None:
        """Read the files that a start reads. Raises BindError."""
        if self.listener is not None:
            self.listener.prepare()

    async def become(self, made: Any) -> None:
        """Go on as ``made``, which :meth:`can_become` and is prepared: with its application, state and settings, in
        this context. What is under way goes on with the application that it began with."""
        self.app, self.state = made.app, made.state
        self.generation += 1
        self.tasks.context = copy_context()

    def under_way(self) -> Collection["asyncio.Future[Any]"]:
        """Return what runs the application now; each is done when that run has ended."""
        return self.tasks.running()

    def outdated(self) -> Iterable[Outdated]:
        """Return the connections that began before the last :meth:`become`."""
        return ()

    async def retire(self) -> None:
        """Leave new connections to a successor that has inherited the listener. Before :meth:`stop`."""
        if self.listener is not None:
            await self.listener.retire()

    @abstractmethod
    async def stop(self, grace: float) -> None:
        """Accept nothing more, give what is in flight ``grace`` seconds to finish, then cancel it.

        Also called to clean up after a start that has failed, or that did not come.
        """

    def hand_over(self) -> Iterator[Record]:
        """Yield what a successor goes on with that is kept nowhere else. After :meth:`stop`."""
        return iter(())

    def inherit(self, records: Iterable[Record]) -> None:  # noqa: B027 -- most servers have none
        """Take part of a predecessor's :meth:`hand_over`. Before start."""

    # What an operator sees. A server need not have any of it. None, among what is returned, asks for a pause in which
    # others have their turn.

    def clients(self) -> Iterable[Resource | None]:
        """Return the connections of its peers that are open now: see :func:`protocols.resources.client_facts`."""
        return ()

    def sessions(self) -> Iterable[Resource | None]:
        """Return the sessions that it keeps for its clients, connected or not."""
        return ()

    def retained(self, topic_filter: str) -> Iterable[Resource | None]:
        """Return the retained messages whose topics a filter matches. Raises ValueError if it is no filter."""
        return ()

    async def kept(self) -> None:
        """Wait until everything up to now, such as what an operator has deleted, would survive the process."""
        await checkpoint()

    async def __aenter__(self) -> Self:
        if self._lifespan is not None:
            await self._lifespan.startup()
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(0.0 if error else 10.0)
        if self._lifespan is not None:
            await self._lifespan.shutdown()
