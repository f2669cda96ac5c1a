"""Answers a supervisor over HTTP whether the daemon is alive and ready, and Prometheus what it has measured."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.config.settings import ConsoleSettings
from gateway.console.http.answer import SAFE, Exposition, send_body, send_metrics
from gateway.delivery.dispatcher import Dispatcher
from gateway.layers import OpenedLayer
from gateway.logs.escaping import json_text
from gateway.own_thread import operator_thread
from gateway.succession import succession
from protocols.access.logins import Logins
from protocols.asgi import Application, Receive, Send
from protocols.http.server import HTTPServer
from protocols.http.settings import HTTPSettings
from protocols.lazy_names import imported
from protocols.server import Server
from protocols.wakeup import Wakeup

LAYER = "layer"
"""The name in ``required`` of the channel layer."""
HEALTH, READINESS, METRICS = "/healthz", "/readyz", "/metrics"
PATHS = f"{HEALTH}, {READINESS}, {METRICS}"
CONNECTIONS = 64
"""Connections at a time: they use the descriptors that are kept in reserve."""


PER_ADDRESS = 48
"""Connections of one client address to a console with users: strangers leave some for others, and streams some for
health checks."""
LOGINS = 24
"""Logins that wait at a time: they and the streams leave connections for health checks."""
MAX_BODY = 1024 * 1024
"""Bytes of a request's body."""


class Console:
    """An ASGI application over the daemon's ``servers`` and its store.

    ``/healthz`` answers whenever the event loop runs. ``/readyz`` answers 200 while every server serves and the store
    can be written, and 503 otherwise: at the start, while it drains, or if a server was stopped. A server that waits
    for its upstream (a broker, a mailbox) counts only if ``required`` names it, and so does a channel layer that is cut
    off from other processes. ``/metrics`` is for Prometheus.
    """

    def __init__(
        self,
        servers: Collection[Server],
        required: Collection[str],
        dispatcher: Dispatcher | None,
        logins: Logins | None = None,
        layer: object = None,
    ) -> None:
        """``layer``: the channel layer."""
        self._servers = servers
        self._required = required
        self._dispatcher = dispatcher
        self._layer = layer if isinstance(layer, OpenedLayer) else None
        self.logins = logins
        self.interface: Callable[[Console], Application] | None = None
        """Imports and makes what answers at all paths but ``/healthz``, and asks this for readiness and metrics. It is
        called on a thread, with the first request."""
        self._made: asyncio.Future[Application] | None = None
        self.is_replaced = False
        """Whether another gateway has taken over. What has begun here goes on, for those who are users there, too."""
        self.unfinished = 0
        """Requests that have an end, and have not come to it."""
        self._has_finished = Wakeup()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if self.interface is not None and scope["path"] != HEALTH:
            app = await self._interface(self.interface)
            await app(scope, receive, send)
            return
        if scope["path"] == METRICS and scope["method"] in ("GET", "HEAD"):
            await send_metrics(send, await self.metrics(scope))
            return
        status, answer = await self._answer(scope["method"], scope["path"])
        text = json_text(answer, indent=2, ascii_only=True) + "\n"
        await send_body(send, status, "application/json", text.encode())

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Do something that is to come to its end, although another gateway has taken over."""
        self.unfinished += 1
        try:
            yield
        finally:
            self.unfinished -= 1
            self._has_finished.wake()

    async def finished(self) -> None:
        """Wait until all of that has ended."""
        while self.unfinished:
            await self._has_finished.wait()

    async def _interface(self, make: "Callable[[Console], Application]") -> Application:
        """Return the interface; all requests that come before it is made wait for it."""
        if self._made is None or _has_failed(self._made):
            self._made = asyncio.ensure_future(operator_thread.run(make, self))
        return await asyncio.shield(self._made)

    async def _answer(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        if method not in ("GET", "HEAD"):
            return 405, {"error": "GET only"}
        if path == HEALTH:
            return 200, {"alive": True}
        if path == READINESS:
            return await self.readiness()
        return 404, {"error": f"there are {PATHS}"}

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer at ``/readyz``."""
        servers = {
            server.name: {
                "protocol": server.protocol,
                "address": server.address,
                "state": server.status.state,
                "detail": server.status.detail,
                "required": self._is_required(server),
            }
            for server in self._servers
        }
        ready = all(server.status.is_up or not self._is_required(server) for server in self._servers)
        body: dict[str, Any] = {"ready": ready, "servers": servers, "outgoing": {}}
        if self._dispatcher is not None:
            body["outgoing"] = self._dispatcher.deliveries.counters.by_kind()
            trouble = await self._dispatcher.trouble()
            body["ready"] = ready = ready and not trouble
            body["store"] = {"state": "unavailable" if trouble else "ready", "detail": trouble}
        if self._layer is not None:
            required, trouble = LAYER in self._required, self._layer.trouble
            body["ready"] = ready = ready and not (required and trouble)
            state = "unavailable" if trouble else "ready"
            body["layer"] = {"state": state, "detail": trouble, "required": required}
        return (200 if ready else 503), body

    async def metrics(self, scope: Any) -> Exposition:
        """Return the answer at ``/metrics``. What measures is imported on a thread when it is asked first."""
        scrape = await operator_thread.run(imported, "gateway.metrics.scrape:scrape")
        answer: Exposition = await scrape(succession.get(), _field(scope, b"accept"), _field(scope, b"accept-encoding"))
        return answer

    def _is_required(self, server: Server) -> bool:
        return server.status.state != "connecting" or server.name in self._required


def _field(scope: Any, name: bytes) -> str:
    """Return a header field; several are one list. Empty if there is none."""
    return b",".join(value for each, value in scope["headers"] if each == name).decode("latin-1")


def _has_failed(made: "asyncio.Future[Application]") -> bool:
    return made.done() and (made.cancelled() or made.exception() is not None)


def _logins(settings: ConsoleSettings) -> Logins:
    return Logins(settings.users, settings.password_file, owner="console", most=LOGINS)


class ConsoleServer(HTTPServer):
    """Serves a :class:`Console`."""

    def __init__(
        self,
        settings: ConsoleSettings,
        servers: Collection[Server],
        dispatcher: Dispatcher | None = None,
        layer: object = None,
    ) -> None:
        """Raises ValueError with one sentence if the password file cannot be used."""
        logins = _logins(settings) if settings.knows_users else None
        self.console = Console(servers, settings.required, dispatcher, logins, layer)
        each = PER_ADDRESS if settings.knows_users and not settings.trusted_proxies else 0
        super().__init__(
            self.console,
            HTTPSettings(
                bind=settings.bind,
                tls=settings.tls,
                trusted_proxies=settings.trusted_proxies,
                trusted_headers=settings.trusted_headers,
                max_connections=CONNECTIONS,
                max_per_address=each,
                max_body=MAX_BODY,
            ),
            name="console",
            state={},
            reserved=True,
            private=not settings.knows_users,
            makes_room=True,
            refusal_headers=SAFE,
        )
        self.login_outcomes = logins.outcomes if logins is not None else None

    @property
    def detail(self) -> str:
        return PATHS
