"""Applications at exact paths of an http server, in front of the one that has the rest."""

from collections.abc import Mapping
from typing import Any

from protocols.asgi import Application, Receive, Routable, Scope, Send


class Mounts:
    """An ASGI application: an http or websocket scope whose path is in ``mounts`` goes there, all else to ``app``."""

    def __init__(self, app: Application, mounts: Mapping[str, Any]) -> None:
        self._app = app
        self._mounts = {f"/{path.lstrip('/')}": mounted for path, mounted in mounts.items()}

    def routable(self, scope: Scope) -> bool:
        if scope.get("path") in self._mounts:
            return True
        app: object = self._app
        return app.routable(scope) if isinstance(app, Routable) else True

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        await self._mounts.get(scope.get("path"), self._app)(scope, receive, send)
