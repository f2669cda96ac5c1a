"""The HTTP and WebSocket server."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextvars import copy_context
from typing import Any

from protocols.asgi import Application
from protocols.errors import BindError
from protocols.http.compression.compressed import Compressed
from protocols.http.compression.settings import compression_of
from protocols.http.connection import HTTPConnection
from protocols.http.exchange import Exchange
from protocols.http.head import plain
from protocols.http.resources import clients
from protocols.http.service import HTTPService
from protocols.http.settings import HTTPSettings
from protocols.http.websocket import WebSocket
from protocols.net.listener import Listener
from protocols.net.traffic import Traffic
from protocols.resources import Resource
from protocols.server import Outdated, Server, ServerStatus

__all__ = ["HTTPServer", "HTTPSettings"]

IDLE_GRACE = 1.0
"""Seconds that an idle connection has before a server that has a successor closes it."""


class HTTPServer(Server):
    """HTTP/1.1 and WebSocket on one address."""

    protocol = "http"
    refusal_reasons: Sequence[str] = (
        *("400", "408", "413", "414", "426", "429", "431"),
        *("501", "503", "505"),
    )
    scope_types = ("http", "websocket")
    listener: Listener

    def __init__(
        self,
        app: Application,
        settings: HTTPSettings,
        *,
        name: str = "http",
        state: dict[str, Any] | None = None,
        reserved: bool = False,
        private: bool = False,
        makes_room: bool = False,
        refusal_headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """``reserved``: it may use descriptors that are kept from the peers of other servers. ``private``: only this
        user may connect, if it is a Unix socket. ``makes_room``: at the limit of connections, a new one takes the place
        of the oldest that waits for a request or for its TLS handshake. ``refusal_headers``: fields of the answers that
        the server itself gives."""
        super().__init__(app, name=name, state=state)
        self.settings = settings
        self.listener = Listener(
            settings.bind,
            tls=settings.tls,
            proxies=settings.proxy_protocol,
            max_per_address=settings.max_per_address,
            alpn=("h2", "http/1.1") if settings.http2 else ("http/1.1",),
            reserved=reserved,
            private=private,
        )
        fields = b"".join(b"%b: %b\r\n" % field for field in refusal_headers)
        compression = compression_of(settings.compress)
        served = app if compression is None else Compressed(app, compression)
        self.service = HTTPService(served, settings, name, self.state, fields)
        self._connection = _connection_class(settings)
        if settings.http2:
            self.refusal_reasons = (*self.refusal_reasons, "ENHANCE_YOUR_CALM", "PROTOCOL_ERROR", "REFUSED_STREAM")
        self._makes_room = makes_room
        self.refusals = self.service.refusals

    @property
    def address(self) -> str:
        return self.listener.address

    @property
    def traffic(self) -> Traffic:  # type: ignore[override]  # it is a sum, which is made when somebody asks
        return self.service.traffic

    def active(self) -> dict[str, int]:
        return dict(Counter(each.noun for each in self.service.running))

    def clients(self) -> Iterable[Resource]:
        return clients(self.service.connections)

    async def start(self) -> None:
        service = self.service
        await self.listener.start(
            lambda: self._connection(service, _RUNS),
            count=service.connections.__len__,
            limit=self.settings.max_connections,
            refusal=plain(503, fields=service.refusal_fields, dated=False),
            make_room=service.make_room if self._makes_room else None,
        )
        self.status = ServerStatus("ready", self.detail)

    @property
    def detail(self) -> str:
        """What the operator sees of it while it is ready."""
        words = ["TLS"] * (self.settings.tls is not None) + ["HTTP/2"] * self.settings.http2
        return "; ".join([*words, "websocket too"])

    def can_become(self, made: Server) -> bool:
        return self.is_where(made)

    async def become(self, made: "HTTPServer") -> None:
        await super().become(made)
        self.settings, self._connection = made.settings, _connection_class(made.settings)
        self.service.become(made.service, copy_context())
        refusal = plain(503, fields=self.service.refusal_fields, dated=False)
        await self.listener.become(made.listener, limit=self.settings.max_connections, refusal=refusal)
        self.status = ServerStatus("ready", self.detail)

    def under_way(self) -> Collection["asyncio.Future[Any]"]:
        return [each.task for each in self.service.running if each.task is not None]

    def outdated(self) -> Iterable[Outdated]:
        service = self.service
        older = [each for each in service.connections if each.generation != service.generation]
        return [each for each in older if not each.is_carried()]

    async def retire(self) -> None:
        """Leave new connections to a successor, as Server.retire does. Each answer is the last of its connection from
        now on; an idle connection has a moment to bring one more request."""
        await super().retire()
        self.service.draining = True
        await asyncio.sleep(IDLE_GRACE)

    async def stop(self, grace: float) -> None:
        """Stop as every server does. WebSockets are closed with 1001 at once; responses announce the close."""
        self.status = ServerStatus("draining")
        self.listener.stop()
        await self.service.drain(grace)
        self.status = ServerStatus("stopped")


_RUNS = (Exchange, WebSocket)


def _connection_class(settings: HTTPSettings) -> type[HTTPConnection]:
    """Raises BindError if HTTP/2 is wanted, and its library is not installed."""
    if not settings.http2:
        return HTTPConnection
    try:
        from protocols.http.http2.connection import HTTP2Connection
    except ImportError as error:
        raise BindError("http2: h2 is not installed; pip install 'asgi-gateway[http2]'") from error
    return HTTP2Connection
