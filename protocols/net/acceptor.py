"""What happens to a connection between accept and its server: limits, the PROXY header, the TLS handshake."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from protocols.asgi import HostPort
from protocols.errors import RemoteProtocolError
from protocols.net.addresses import AddressLimit, AddressRate, Networks, Socket, is_near
from protocols.net.connection_counters import ConnectionCounters, handshake_end, is_not_tls
from protocols.net.endpoints import Endpoints, host_port
from protocols.net.proxy import ProxiedTransport, read_header
from protocols.net.tls import Certificate
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

HEADER_TIMEOUT = 5.0
"""Seconds for a PROXY header. A proxy sends it in its first packet, which TCP may have to send again (2)."""
_TURNS = 2
"""Turns of the loop that lie between uvloop's accept and :meth:`Acceptor.take_transport`."""
_QUIET = 60.0
"""Seconds between two equal warnings."""


class RateLimitedWarnings:
    """Logs each kind of warning at most once a minute, so that a flood of connections is not a flood of lines."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._logged: dict[str, float] = {}

    def warn(self, message: str, *arguments: object) -> None:
        now = time.monotonic()
        if now - self._logged.get(message, -_QUIET) >= _QUIET:
            self._logged[message] = now
            logger.warning(f"%s: {message}", self._label, *arguments)


class Acceptor:
    """Takes accepted sockets and makes them connections of the server's protocol.

    ``limit`` bounds the server's own ``count()`` and the connections on their way to it together. One connection more
    gets ``refusal``, except under TLS: there it would take the handshake that the limit is to save.
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        label: str,
        count: Callable[[], int],
        limit: int,
        refusal: bytes,
        address_limit: AddressLimit,
        address_rate: AddressRate,
        proxies: Networks,
        certificate: Certificate | None,
        max_descriptor: int,
        pause: Callable[[str], None],
        counters: ConnectionCounters,
        make_room: Callable[[], bool] | None = None,
    ) -> None:
        """``pause`` is called, with a reason, for a connection whose descriptor is ``max_descriptor`` or above.
        ``make_room`` closes one of the server's connections at the limit, and returns whether it could."""
        self._factory = factory
        self._count = count
        self._limit = limit
        self._refusal = b"" if certificate else refusal
        self._address_limit = address_limit
        self._address_rate = address_rate
        self._proxies = proxies
        self._certificate = certificate
        self._label = label
        self._tasks = Tasks(label)
        self._pending: dict[socket.socket, asyncio.Task[None]] = {}
        self._closed = False
        self._max_descriptor = max_descriptor
        self.pause = pause
        self._counters = counters
        self._make_room = make_room
        self.warnings = RateLimitedWarnings(label)

    @property
    def connections(self) -> int:
        """Connections that are open, with those on their way to the server."""
        return self._count() + len(self._pending)

    def become(self, *, limit: int, refusal: bytes, proxies: Networks, certificate: Certificate | None) -> None:
        """Take new connections so from now on."""
        self._limit = limit
        self._refusal = b"" if certificate else refusal
        self._proxies = proxies
        self._certificate = certificate

    @property
    def direct(self) -> bool:
        """Whether there is nothing between accept and the server: then connections come by :meth:`take_transport`, else
        by :meth:`take_socket`."""
        return self._certificate is None and not self._proxies

    def take_transport(self, transport: asyncio.Transport) -> None:
        """Take a connection that needs neither a PROXY header nor a handshake."""
        client = host_port(transport.get_extra_info("peername"))
        connection = transport.get_extra_info("socket")
        self._check_descriptor(connection)
        if self._is_below_limit() and self._admits(client, connection):
            self._serve(transport, transport)
        else:
            self._refuse(connection)
            transport.close()

    def take_socket(self, accepted: socket.socket, peer: Any) -> None:
        """Take a socket that was accepted from ``peer``."""
        accepted.settimeout(0)
        self._check_descriptor(accepted)
        if not self._is_below_limit():
            self._refuse(accepted)
            accepted.close()
            return
        task = self._tasks.spawn(self._prepare(accepted, peer), name="a connection")
        self._pending[accepted] = task
        task.add_done_callback(partial(self._prepared, accepted))

    async def settle(self) -> None:
        """Wait until every accepted connection has reached the server, or has failed its handshake."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if self._pending:
            await asyncio.wait(list(self._pending.values()))

    def close(self) -> None:
        """Close every connection that has not reached the server yet."""
        self._closed = True
        for task in self._pending.values():
            task.cancel()

    def _check_descriptor(self, connection: Socket) -> None:
        if connection.fileno() >= self._max_descriptor:
            self.pause(
                f"{self._max_descriptor} file descriptors are in use, the rest is reserved for the gateway itself"
            )

    def _is_below_limit(self) -> bool:
        if self.connections < self._limit or self._has_made_room():
            return True
        self._counters.refused["limit"] += 1
        self.warnings.warn("the limit of %d connections is reached; more are refused", self._limit)
        return False

    def _has_made_room(self) -> bool:
        """Close a connection that waits for its first byte, at the server or in its TLS handshake, if it may be."""
        if self._make_room is None:
            return False
        if self._make_room():
            return True
        oldest = next(iter(self._pending), None)
        if oldest is not None:
            self._pending.pop(oldest).cancel()
        return oldest is not None

    def _admits(self, client: HostPort | None, connection: Socket) -> bool:
        if client is None:
            return True
        if not is_near(client[0]) and not self._address_rate.admit(client[0]):
            self._counters.refused["address_rate"] += 1
            self.warnings.warn("%s opens more connections a minute than one address may; more are refused", client[0])
            return False
        if self._address_limit.admit(client[0], connection):
            return True
        self._counters.refused["address_limit"] += 1
        self.warnings.warn("%s has as many connections as one address may have; more are refused", client[0])
        return False

    def _prepared(self, accepted: socket.socket, _: "asyncio.Task[None]") -> None:
        self._pending.pop(accepted, None)
        accepted.close()  # does nothing once the loop has the descriptor

    async def _prepare(self, accepted: socket.socket, peer: Any) -> None:
        try:
            endpoints = await self._read_endpoints(accepted) if self._proxies.hold(peer) else None
            await self._connect(accepted, endpoints, endpoints.client if endpoints else host_port(peer))
        except ConnectionResetError:
            pass  # it left without a word, as health checks do
        except RemoteProtocolError as error:
            self._counters.refused["proxy_header"] += 1
            self.warnings.warn("closed a connection from the proxy %s: %s", _name(peer), error)
        except OSError as error:
            logger.info("%s: closed a connection from %s: %s", self._label, _name(peer), _reason(error))

    async def _read_endpoints(self, accepted: socket.socket) -> Endpoints | None:
        try:
            async with asyncio.timeout(HEADER_TIMEOUT):
                return await read_header(accepted)
        except TimeoutError:
            raise RemoteProtocolError(f"no PROXY header within {HEADER_TIMEOUT:g} s") from None

    async def _connect(self, accepted: socket.socket, endpoints: Endpoints | None, client: HostPort | None) -> None:
        # The loop owns the descriptor from here on: `accepted` gives it up, so that it is not closed twice.
        connection = socket.socket(accepted.family, accepted.type, _protocol(accepted), accepted.detach())
        if not self._admits(client, connection):
            self._refuse(connection)
            connection.close()
            return
        loop = asyncio.get_running_loop()
        protocol = partial(Handover, partial(self._hand_over, accepted, endpoints))
        if self._certificate is None:
            await loop.connect_accepted_socket(protocol, connection)
            return
        context, timeout = self._certificate.context(), self._certificate.tls.handshake_timeout
        try:
            await loop.connect_accepted_socket(protocol, connection, ssl=context, ssl_handshake_timeout=timeout)
        except OSError as error:
            self._counters.handshakes[handshake_end(error)] += 1
            raise
        self._counters.handshakes["completed"] += 1

    def _hand_over(self, accepted: socket.socket, endpoints: Endpoints | None, transport: asyncio.Transport) -> None:
        self._pending.pop(accepted, None)  # in one step with the server's own counting
        self._serve(
            transport, cast("asyncio.Transport", ProxiedTransport(transport, endpoints)) if endpoints else transport
        )

    def _serve(self, transport: asyncio.Transport, shown: asyncio.Transport) -> None:
        """Give ``transport`` to the server, which sees ``shown``."""
        if self._closed:
            transport.abort()
            return
        self._counters.accepted += 1
        protocol = self._factory()
        transport.set_protocol(protocol)
        protocol.connection_made(shown)

    def _refuse(self, connection: Socket) -> None:
        """Send the refusal, and read what has come: unread bytes would make the close a reset that overtakes it."""
        with contextlib.suppress(OSError):
            os.write(connection.fileno(), self._refusal)
            os.read(connection.fileno(), 65536)


class Handover(asyncio.Protocol):
    """The protocol of a connection until it is made: under TLS, until the handshake is done."""

    def __init__(self, connected: Callable[[asyncio.Transport], None]) -> None:
        self._connected = connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connected(cast("asyncio.Transport", transport))  # uvloop's does not inherit from it


def _protocol(accepted: socket.socket) -> int:
    """Return the number by which asyncio knows TCP, and switches Nagle's algorithm off: that would hold a small write
    back for 40 ms if the one before is not acknowledged. An accepted socket has that of its listener, which is 0."""
    return accepted.proto if accepted.family == socket.AF_UNIX else socket.IPPROTO_TCP


def _reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return str(error)
    if is_not_tls(error):
        return "it does not speak TLS"
    detail = getattr(error, "verify_message", "") or (error.reason or "no reason given").lower().replace("_", " ")
    return f"its TLS handshake failed: {detail}"


def _name(peer: Any) -> str:
    client = host_port(peer)
    return client[0] if client else "a Unix socket"
