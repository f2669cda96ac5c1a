"""Everything that the gateway has to know about a scope type."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from gateway.arrivals import Watch
from gateway.delivery.kind import DeliveryKind
from gateway.delivery.outbox import NoServer, Outlet
from gateway.delivery.policy import Policy
from gateway.delivery.reach import StoreReach
from gateway.recording.replay_run import ReplayRun, UncheckedReplay
from gateway.routing.patterns import Exactly, Pattern
from gateway.routing.router import Route, Router, takes
from gateway.routing.targets import Named, as_application, name_of
from gateway.scopes.routes import keys_of
from gateway.scopes.server_kind import Given, ServerKind, is_configured
from gateway.services import Service
from protocols.asgi import Application
from protocols.events import Event
from protocols.server import Server

Loc = tuple[str | int, ...]
"""The path to a value in gateway.yaml: ``("servers", "devices", "password_file")``."""


class Running(NamedTuple):
    """A server that has started."""

    server: Server
    settings: Any


class ScopeKind(ABC):
    """A scope type, with all that the gateway has to know about it. One object each, without state of its own.

    Settings, routers, delivery, checks and the command line go through the list of these; none knows a scope type by
    its name.
    """

    name: ClassVar[str]
    """``scope["type"]``, and the first part of the types of its events."""
    delivery: ClassVar[DeliveryKind | None] = None
    """How its messages are kept. None: they are not, and a route for them has no policy."""
    traced: ClassVar[str] = "gateway.tracing.traced:Traced"
    """``module:class`` of a :class:`~gateway.tracing.traced.Traced`, which is imported where tracing is configured."""
    watch: ClassVar[type[Watch]] = Watch
    """Makes arrivals, for the log and for `gateway tail`, of what a run over such a scope receives and sends."""
    is_connection: ClassVar[bool] = False
    """Whether a scope is a connection, so that its runs have :attr:`protocols.app_run.AppRun.is_connection`."""
    results: ClassVar[Sequence[str]] = ("accepted", "rejected", "deferred", "failed")
    """What may come of a run, for the metrics: these are 0 from the start on. A status is ``2xx`` there."""
    servers: ClassVar[Sequence[ServerKind]] = ()
    """The protocols that ``servers:`` may name for it."""
    not_protocols: ClassVar[Mapping[str, str]] = {}
    """What people write for ``protocol``, though it is none -> what to write instead."""
    is_served: ClassVar[bool] = True
    """Whether servers make its scopes. If not, code puts them into the store."""
    noun: ClassVar[str] = "messages"
    """The operator's word for what its servers receive."""

    # What gateway.yaml says of it.

    words: ClassVar[str]
    """The description of its key of ``routes:`` in the reference: ``Text messages, by sender.``"""
    route: ClassVar[type]
    """The settings of one route: ``app``, and a field for each key that a route may have, all of them optional."""
    excludes: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Keys of a route -> those that it does not have beside them."""
    policy: ClassVar[type[Policy]] = Policy
    """What the policy of a route is made of: the fields of it that :attr:`route` has."""
    everything: ClassVar[str] = "default: true"
    """How the file writes a route that takes everything."""

    django: ClassVar[str] = "gateway.django:views"
    """``module:function`` of what makes the application that the target ``django`` means. It raises
    :class:`~gateway.django.unanswered.NotAnswered` if the project has none."""
    without_routes: ClassVar[str] = ""
    """What an empty list of routes makes of its servers. Empty: nothing, so that it is a mistake."""

    def mistakes(self, servers: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
        """Find mistakes in ``servers``, by name, that several settings make together."""
        return iter(())

    def mistakes_of(self, settings: Any) -> Iterator[tuple[Loc, str]]:
        """Find mistakes that the file's settings make together."""
        return iter(())

    # How its scopes are routed.

    router: ClassVar[type[Router]]
    refusal: ClassVar[Sequence[Event]]
    """The events that answer a scope that no route takes: the protocol's own "no such address"."""

    def router_of(self, routes: Sequence[Route], settings: Any, target: Callable[[str], Any]) -> Router:
        """Make the router. ``settings`` are the file's; ``target`` imports what the setting of that name says. Raises
        ValueError."""
        return self.router(routes)

    @abstractmethod
    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        """Make a route from one of the keys. Raises ValueError if ``value`` is not a pattern."""

    def route_of(self, key: str, line: Any, target: Any, policy: Policy) -> Route:
        """Make the route that ``line`` of the file says, an object of :attr:`route`. Raises ValueError."""
        return self.make_route(key, getattr(line, key), target, policy)

    def branch_of(self, target: Any) -> Route:
        """Make the route of all scopes, where the file has no list of routes for them."""
        return Route(Exactly(self.name), as_application(target), name_of(target))

    def application_of(self, line: Any, folder: Path) -> Named | None:
        """Make the application of a route whose own keys say what answers, in place of ``app``; None: ``app`` says it.
        Relative paths start in ``folder``. Raises :class:`~gateway.scopes.routes.KeyMistake`."""
        return None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that say what a route takes."""
        return tuple(key for key in keys_of(self.route) if key not in self.options)

    options: ClassVar[Collection[str]] = ()
    """Fields of :attr:`route` that a route may have beside one of the keys."""
    enough: ClassVar[Mapping[str, str]] = {}
    """Options that a route may have without a key -> the key that is meant."""

    def doubts(self, line: Any) -> Iterator[tuple[str, str]]:
        """Yield (key, sentence) for what ``line`` of the file allows, and is probably not meant."""
        return iter(())

    def doubts_of_servers(self, settings: Any) -> Iterator[tuple[str, str, str]]:
        """Yield (server's name, key, sentence) for what the file allows, and is probably not meant."""
        return iter(())

    # What the command line does with it.

    example: ClassVar[str]
    """An argument of `gateway explain`, for its help: ``email:ann@example.org``."""
    aliases: ClassVar[Collection[str]] = ()
    """Other words for the name before the colon of such an argument: ``mail:ann@example.org``."""
    bare: ClassVar[str] = ""
    """A regular expression for such an argument without a name before it. Empty: there is none."""
    send: ClassVar[str] = ""
    """``module:function`` of the command below `gateway send`: its parameters are the command's, its docstring is the
    help, and it returns a :class:`~gateway.scopes.sending.Sender`. Empty: there is no such command."""

    dashes: ClassVar[bool] = False
    """Whether an argument of `gateway send` that begins with a dash, such as a number, may be no option."""

    @abstractmethod
    def subject(self, text: str) -> dict[str, Any]:
        """Return as much of a scope as routers look at, from the text after ``email:``. Raises ValueError."""

    def as_received(self, scope: dict[str, Any], servers: Mapping[str, Any]) -> dict[str, Any]:
        """Return what :meth:`subject` gave as the servers with these settings, by name, make it."""
        return scope

    def captures(self, pattern: Pattern, scope: Mapping[str, Any]) -> dict[str, str] | None:
        """Return the parts of ``scope`` that ``pattern`` captures for handlers, by name."""
        return None

    def reason(self, pattern: Pattern, scope: Mapping[str, Any]) -> str:
        """Return why a route with ``pattern`` takes ``scope``, for `gateway explain`."""
        return f"the first route of routes.{self.name} that matches is {pattern}"

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        """Yield commands or addresses that the operator can paste to try it, the best first. ``running``: all servers,
        in the order of the file."""
        return iter(())

    def is_taken(self, running: Running, text: str) -> bool:
        """Return whether a route behind this server may take what `gateway explain` calls by the name and ``text``."""
        scope: Any = {"type": self.name, **self.subject(text)}
        return takes(running.server.app, scope)

    def services(self, routed: Callable[[], Application], file: str, reach: StoreReach) -> Mapping[Service[Any], Any]:
        """Return what code anywhere finds, in a gateway of ``file`` or in another process. ``routed`` returns the tree
        of its routes; in another process its targets are not imported. ``reach`` reaches its store."""
        return {}

    # How what was recorded is run again.

    def records(self, arrival: Any) -> bool:
        """Return whether ``arrival`` is one that a recording keeps: with it comes all that has to be run again."""
        return True

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        """Return a run of ``app`` over what a recording has of an arrival."""
        return UncheckedReplay(app, scope, events)

    # How what handlers send leaves.

    @property
    def sends(self) -> bool:
        """Whether what handlers send of it is kept in the outbox."""
        return self.delivery is not None and self.delivery.keep is not None

    def senders(self, settings: Any) -> Mapping[str, Mapping[str, Any]]:
        """Return the servers by which code that has no scope can send messages of this type: name -> the keys of a
        scope that sending by it needs. ``settings`` are the file's."""
        return {name: {"listener": name} for name in self._servers(settings)}

    def lacking(self, settings: Any) -> str:
        """Return what to write into the file, where :meth:`senders` gives none."""
        return f"write a server with protocol: {' or '.join(self.protocols)}"

    def _servers(self, settings: Any) -> dict[str, Any]:
        """Return the settings of the servers for this scope type, by name."""
        return {
            name: each
            for name, each in settings.servers.items()
            if each.protocol in self.protocols and is_configured(each)
        }

    def outlet(self, servers: Collection[Server], given: Given) -> Outlet | None:
        """Return what sends for the outbox. None: nothing of this type leaves.

        Look for the server in ``servers`` each time: another one may have taken its place. Raises ValueError for a
        server that cannot send.
        """
        if not self.sends:
            return None
        if type(self).transmit is ScopeKind.transmit:
            self._check_send(servers)

        async def leave(listener: str, event: Event) -> None:
            for server in servers:
                if server.name == listener and self.name in server.scope_types:
                    await self.transmit(server, event)
                    return
            raise NoServer(f"there is no {self.name} server {listener!r} any more")

        return leave

    def _check_send(self, servers: Collection[Server]) -> None:
        for server in servers:
            if self.name in server.scope_types and not hasattr(server, "send"):
                raise ValueError(f"servers.{server.name}: {type(server).__name__} has no send, by which events leave")

    async def transmit(self, server: Any, event: Event) -> None:
        """Send ``event`` by ``server``. Raises NotSent, PermanentFailure or AccountRefused."""
        await server.send(event)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The values of ``protocol:`` for its servers."""
        return tuple(name for server in self.servers for name in server.protocols)
