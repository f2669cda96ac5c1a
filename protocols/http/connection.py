"""One connection: aiohttp's ``RequestHandler`` with our answers to errors, our write stall and our drain."""

import asyncio
from typing import Any, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler

from protocols.errors import Disconnected
from protocols.http.service import Service
from protocols.http.tls import describe_tls


class Connection(RequestHandler):
    """Reads requests one after the other (aiohttp does) and writes what the exchanges give it."""

    __slots__ = ("extensions", "label", "scope", "service")

    def __init__(self, service: Service, manager: web.Server) -> None:
        settings = service.settings
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=settings.keepalive_timeout,
            access_log=None,  # type: ignore[arg-type]  # None switches it off; the exchange writes ours
            max_line_size=settings.max_header,
            max_field_size=settings.max_header,
            auto_decompress=False,
        )
        self.service = service
        self.label = service.name
        """Whom a log line is about: the listener and the peer."""
        self.scope: dict[str, Any] = {}
        """What the scopes of all requests on this connection share."""
        self.extensions: dict[str, Any] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        client = _host_port(transport.get_extra_info("peername"))
        self.label = f"{self.service.name} {client[0]}:{client[1]}" if client else self.service.name
        tls = transport.get_extra_info("ssl_object")
        self.scope = {
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "scheme": "http" if tls is None else "https",
            "client": client,
            "server": _host_port(transport.get_extra_info("sockname")),
            "root_path": self.service.settings.root_path,
        }
        if tls is not None:
            self.extensions = {"tls": describe_tls(tls)}
        self.service.connections.add(self)
        super().connection_made(transport)
        if self.service.draining:  # it was in the backlog when the listener stopped
            self.force_close()

    def connection_lost(self, error: BaseException | None) -> None:
        self.service.lost(self)
        idle = self._task_handler if self._current_request is None else None
        super().connection_lost(error)
        if idle is not None:  # it waits for a request, or for the rest of a body that nobody reads
            idle.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # aiohttp queues a parser's error as the next request; the one whose body it is in would wait for ever.
        if self._messages:
            last, request = self._messages[-1][0], cast("Any", self._current_request)
            if request is not None and not isinstance(last, RawRequestMessage):
                request.malformed(_words(last.exc))

    def write(self, data: bytes) -> None:
        """Write, or raise Disconnected where there is nobody any more."""
        if self.transport is None:
            raise Disconnected("the peer is gone")
        self.transport.write(data)

    async def _drain_helper(self) -> None:
        """Wait until the peer has read enough; one that reads nothing for ``stall_timeout`` is cut off.

        In aiohttp's place: its own has no bound, and shares one future that a cancelled waiter cancels for the others.
        """
        while self.writing_paused and self.transport is not None:
            if self._drain_waiter is None:
                self._drain_waiter = self._loop.create_future()
            unread = self.transport.get_write_buffer_size()
            done, _ = await asyncio.wait({self._drain_waiter}, timeout=self.service.settings.stall_timeout)
            if done:
                self._drain_waiter = None
            elif self.connected and self.transport.get_write_buffer_size() >= unread:
                self.abort()
        if self.transport is None:
            raise Disconnected("the peer has left, or stopped reading")

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> Any:
        """Answer bytes that are no request: a few plain words, where aiohttp has a page and a logged traceback."""
        request.answer(431 if isinstance(exc, LineTooLong) else status, _words(exc))
        return request

    def end_writing(self) -> None:
        """FIN: the peer learns that nothing follows while we still read, so that no reset overtakes our last words."""
        if self.transport is not None and self.transport.can_write_eof():  # not so with TLS
            self.transport.write_eof()

    def retire(self) -> None:
        """The server drains: close now if there is nothing in flight, else after it."""
        if self._current_request is None and not self._messages:
            self.force_close()

    def finish(self) -> None:
        """Send what is still in the buffer, and close."""
        self.force_close()

    def abort(self) -> None:
        """Cut the connection, so that what the peer has can not look complete."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()


def _host_port(address: Any) -> tuple[str, int | None] | None:
    """A socket address as ASGI has it; a Unix socket's path has no port, its peer usually not even a path."""
    if isinstance(address, tuple):
        return address[0], address[1]
    return (str(address), None) if address else None


def _words(error: BaseException | None) -> str:
    """What was wrong with the bytes, without a byte of them."""
    if type(error) is BadHttpMessage:
        return error.message.partition(":\n")[0]
    return type(error).__name__
