"""Servers at exact paths of an http server, in front of the application that has the rest."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.counts import counted, run_counts
from gateway.routing import current_route, takes
from protocols.asgi import Application, Receive, Scope, Send
from protocols.server import Server


class Mounts:
    """An ASGI application: an http or websocket scope whose path is in ``mounts`` goes to the server of that name, all
    else to ``app``. ``named`` finds a server."""

    def __init__(self, app: Application, mounts: Mapping[str, str], named: Callable[[str], Server]) -> None:
        self.app = app
        self._mounts = mounts
        self._named = named

    def routable(self, scope: Scope) -> bool:
        if scope.get("path") in self._mounts:
            return True
        return takes(self.app, scope)

    def carried(self, scope: Any) -> str:
        """The label of the server that ``scope`` is for, as a route has one; empty if the application has it."""
        path: str = scope.get("path", "")
        return f"{path} -> servers.{name}" if (name := self._mounts.get(path)) is not None else ""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        name = self._mounts.get(scope.get("path"))
        if name is None:
            await self.app(scope, receive, send)
            return
        with counted(run_counts.get().of(name)):  # what it makes of the request is its own
            await _application_of(self._named(name))(scope, receive, send)
        current_route.set(self.carried(scope))


def _application_of(server: Any) -> Application:
    """Return the application of a carried server: the webhook itself, or the part that speaks WebSocket."""
    app: Application = server if callable(server) else server.websocket
    return app
