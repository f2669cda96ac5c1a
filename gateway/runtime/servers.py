"""A gateway's servers, made from their settings."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.config.carriers import carrier
from gateway.delivery.outbox import Outlet
from gateway.runtime.mounts import Mounts
from gateway.scopes.installed import KINDS, SERVERS
from gateway.scopes.server_kind import Given, is_configured
from protocols.asgi import Application
from protocols.server import Server


class Servers(Collection[Server]):
    """Every server over ``app``, in the order of the file, each http server with what it carries in front of ``app``.

    A server that was stopped does not start again: :meth:`make` makes another one, and :meth:`put` puts it in the
    place of the one before. So those that carry or list servers look them up here each time.
    """

    def __init__(self, settings: Mapping[str, Any], app: Application, state: dict[str, Any], given: Given) -> None:
        """Raises ValueError with one sentence where settings contradict each other."""
        self._settings = {name: each for name, each in settings.items() if is_configured(each)}
        self._app = app
        self._state = state
        self._given = given
        self._made = {name: self.make(name) for name in self._settings}
        self.line = Line(self)

    def make(self, name: str) -> Server:
        """Make a server with the settings of ``name``."""
        settings = self._settings[name]
        app = Mounts(self._app, carried, self.named) if (carried := self._carried_by(name)) else self._app
        return SERVERS[settings.protocol].make(app, settings, name, self._state, self._given)

    def _carried_by(self, name: str) -> dict[str, str]:
        """The names of the servers that ``name`` carries, by path."""
        mounts = {other: carrier(settings) for other, settings in self._settings.items()}
        return {mount.path: other for other, mount in mounts.items() if mount is not None and mount.on == name}

    def put(self, server: Server) -> None:
        """Put ``server`` in the place of the one that has its name."""
        self._made[server.name] = server

    def leave(self, name: str) -> None:
        """Forget the server, which goes on with a successor of this gateway."""
        del self._made[name]

    def follow(self, before: "Servers") -> None:
        """Let what gateways before this one still send leave by these servers."""
        self.line = before.line
        self.line.newest = self

    def named(self, name: str) -> Server:
        if name not in self._made and self.line.newest is not self:  # it has just passed over
            return self.line.newest.named(name)
        return self._made[name]

    def __iter__(self) -> Iterator[Server]:
        return iter(self._made.values())

    def __len__(self) -> int:
        return len(self._made)

    def __contains__(self, server: object) -> bool:
        return server in self._made.values()


@dataclass
class Line:
    """The gateways of a process that took over from one another. An old one knows the newest, and none between."""

    newest: Servers


class Senders(Collection[Server]):
    """The servers by which a gateway sends, also after a successor has its own. Servers that stand by are left out."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def __iter__(self) -> Iterator[Server]:
        return (each for each in self._servers.line.newest if not each.stands_by)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, server: object) -> bool:
        return any(each is server for each in self)


def needs_store(settings: Any) -> bool:
    """Return whether a server with these settings keeps state of its own."""
    return SERVERS[settings.protocol].needs_store(settings)


def lives_once(settings: Any) -> bool:
    """Return whether of several workers one alone has a server with these settings."""
    return is_configured(settings) and SERVERS[settings.protocol].server_class().exclusive


NOTHING = Given()


def make_outlets(servers: Collection[Server], given: Given = NOTHING) -> dict[str, Outlet]:
    """Return what sends for the outbox, by scope type. An outlet looks in ``servers`` each time that it sends."""
    kinds = KINDS if given.store is not None else KINDS.made()  # a store may hold items of every type
    outlets = {name: kind.outlet(servers, given) for name, kind in kinds.items()}
    return {name: outlet for name, outlet in outlets.items() if outlet is not None}
