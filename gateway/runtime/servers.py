"""From a server's settings to the server."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.config.carriers import carrier
from gateway.delivery.outbox import Outlet
from gateway.runtime.mounts import Mounts
from gateway.scopes.installed import KINDS, SERVERS
from gateway.scopes.server_kind import Given
from protocols.asgi import Application
from protocols.server import Server


def _mounted(server: Any) -> Application:
    """What answers at a server's place: a webhook itself, or the part that speaks WebSocket."""
    app: Application = server if callable(server) else server.websocket
    return app


def make_servers(servers: Mapping[str, Any], app: Application, state: dict[str, Any], given: Given) -> list[Server]:
    """Every server over ``app``, in the order of the file, each http server with what it carries in front of ``app``.

    Raises ValueError with one sentence where settings contradict each other.
    """
    servers = {name: settings for name, settings in servers.items() if getattr(settings, "configured", True)}
    places = {name: place for name in servers if (place := carrier(servers[name]))}
    carried = {name: _make(name, servers[name], app, state, given) for name in places}
    made = []
    for name, settings in servers.items():
        if name in carried:
            made.append(carried[name])
            continue
        mounts = {place.path: _mounted(carried[other]) for other, place in places.items() if place.on == name}
        made.append(_make(name, settings, Mounts(app, mounts) if mounts else app, state, given))
    return made


def needs_store(settings: Any) -> bool:
    """Whether a server with these settings keeps state of its own."""
    return SERVERS[settings.protocol].needs_store(settings)


def _make(name: str, settings: Any, app: Any, state: dict[str, Any], given: Given) -> Server:
    return SERVERS[settings.protocol].make(app, settings, name, state, given)


NOTHING = Given()


def make_outlets(servers: Iterable[Server], given: Given = NOTHING) -> dict[str, Outlet]:
    """By scope type, what sends for the outbox."""
    made = list(servers)
    outlets = {name: kind.outlet(made, given) for name, kind in KINDS.items()}
    return {name: outlet for name, outlet in outlets.items() if outlet is not None}
