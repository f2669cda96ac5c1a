"""Connections from accept to the server: bounds, the PROXY header, the TLS handshake."""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from protocols.asgi import HostPort
from protocols.errors import RemoteProtocolError
from protocols.net.addresses import Crowd, Networks, Open
from protocols.net.endpoints import host_port
from protocols.net.proxy import Ends, Proxied, read_header
from protocols.net.tls import Certificate
from protocols.tasks import Tasks

logger = logging.getLogger(__name__)

HEADER_TIMEOUT = 5.0
"""Seconds for a PROXY header: proxies send it with their first packet, which TCP may have to send again (2)."""
_NO_TLS = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER"})
"""What OpenSSL says of a peer that speaks something else."""


class Seldom:
    """Warnings that a flood of connections does not make a flood of lines: each kind at most once a minute."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._said: dict[str, float] = {}

    def warn(self, words: str, *facts: object) -> None:
        now = time.monotonic()
        if now - self._said.get(words, -60.0) >= 60:
            self._said[words] = now
            logger.warning(f"%s: {words}", self._label, *facts)


class Arrivals:
    """Takes accepted sockets and makes connections of the server's protocol of them.

    ``limit`` bounds the server's own ``count()`` and what is on its way to it together. Who is one too many hears
    ``refusal``, except where TLS is spoken: a handshake for the sake of a refusal is what the bound is to save.
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        label: str,
        count: Callable[[], int],
        limit: int,
        refusal: bytes,
        crowd: Crowd,
        proxies: Networks,
        certificate: Certificate | None,
        most: int,
        rest: Callable[[str], None],
    ) -> None:
        """``rest`` is called, with a reason, for a connection whose descriptor is ``most`` or above."""
        self._factory = factory
        self._count = count
        self._limit = limit
        self._refusal = b"" if certificate else refusal
        self._crowd = crowd
        self._proxies = proxies
        self._certificate = certificate
        self._label = label
        self._tasks = Tasks(label)
        self._coming: dict[socket.socket, asyncio.Task[None]] = {}
        self._closed = False
        self._most = most
        self.rest = rest
        self.log = Seldom(label)

    @property
    def direct(self) -> bool:
        """Whether nothing lies between accept and the server: connections come by `greet`, else by `take`."""
        return self._certificate is None and not self._proxies

    def greet(self, transport: asyncio.Transport) -> None:
        """A connection was made that needs neither a header nor a handshake."""
        client = host_port(transport.get_extra_info("peername"))
        connection = transport.get_extra_info("socket")
        if connection.fileno() >= self._most:
            self._run_short()
        if self._has_room() and self._admits(client, connection):
            self._serve(transport, transport)
        else:
            transport.write(self._refusal)
            transport.close()

    def take(self, accepted: socket.socket, peer: Any) -> None:
        """A connection from ``peer`` was accepted, and nothing else."""
        accepted.settimeout(0)
        if accepted.fileno() >= self._most:
            self._run_short()
        if not self._has_room():
            self._refuse(accepted)
            return
        task = self._tasks.spawn(self._arrive(accepted, peer), name="a connection")
        self._coming[accepted] = task
        task.add_done_callback(partial(self._over, accepted))

    def close(self) -> None:
        """What has not reached the server by now does not."""
        self._closed = True
        for task in self._coming.values():
            task.cancel()

    def _run_short(self) -> None:
        self.rest(f"{self._most} file descriptors are in use, and the rest is kept for the gateway's own work")

    def _has_room(self) -> bool:
        if self._count() + len(self._coming) < self._limit:
            return True
        self.log.warn("%d connections, the limit; more are refused", self._limit)
        return False

    def _admits(self, client: HostPort | None, connection: Open) -> bool:
        if client is None or self._crowd.admit(client[0], connection):
            return True
        self.log.warn("%s has as many connections as an address may; more are refused", client[0])
        return False

    def _over(self, accepted: socket.socket, _: "asyncio.Task[None]") -> None:
        self._coming.pop(accepted, None)
        accepted.close()  # nothing, where the loop has it

    async def _arrive(self, accepted: socket.socket, peer: Any) -> None:
        try:
            ends = await self._ends(accepted) if self._proxies.hold(peer) else None
            await self._connect(accepted, ends, ends.client if ends else host_port(peer))
        except ConnectionResetError:
            pass  # it just left, as health checks do
        except RemoteProtocolError as error:
            self.log.warn("closed a connection from the proxy %s: %s", _name(peer), error)
        except OSError as error:
            logger.info("%s: %s: closed: %s", self._label, _name(peer), _reason(error))

    async def _ends(self, accepted: socket.socket) -> Ends | None:
        try:
            async with asyncio.timeout(HEADER_TIMEOUT):
                return await read_header(accepted)
        except TimeoutError:
            raise RemoteProtocolError(f"no PROXY header within {HEADER_TIMEOUT:g} s") from None

    async def _connect(self, accepted: socket.socket, ends: Ends | None, client: HostPort | None) -> None:
        # The loop's from here on: `accepted` is no longer a name for the descriptor, so that nobody closes it twice.
        connection = socket.socket(accepted.family, accepted.type, accepted.proto, accepted.detach())
        if not self._admits(client, connection):
            self._refuse(connection)
            return
        loop = asyncio.get_running_loop()
        entrance = partial(Entrance, partial(self._let_in, accepted, ends))
        if self._certificate is None:
            await loop.connect_accepted_socket(entrance, connection)
        else:
            context, timeout = self._certificate.context(), self._certificate.tls.handshake_timeout
            await loop.connect_accepted_socket(entrance, connection, ssl=context, ssl_handshake_timeout=timeout)

    def _let_in(self, accepted: socket.socket, ends: Ends | None, transport: asyncio.Transport) -> None:
        self._coming.pop(accepted, None)  # in one step with the server's own counting
        self._serve(transport, cast("asyncio.Transport", Proxied(transport, ends)) if ends else transport)

    def _serve(self, transport: asyncio.Transport, shown: asyncio.Transport) -> None:
        """The connection is the server's, to which it looks like ``shown``."""
        if self._closed:
            transport.abort()
            return
        protocol = self._factory()
        transport.set_protocol(protocol)
        protocol.connection_made(shown)

    def _refuse(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.send(self._refusal)
            connection.recv(65536)  # with something unread, closing would be a reset that overtakes the refusal
        connection.close()


class Entrance(asyncio.Protocol):
    """The protocol of a connection until it is made, which with TLS is after the handshake."""

    def __init__(self, enter: Callable[[asyncio.Transport], None]) -> None:
        self._enter = enter

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._enter(cast("asyncio.Transport", transport))  # uvloop's is none by inheritance


def _reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return str(error)
    if error.reason in _NO_TLS:
        return "it does not speak TLS"
    detail = getattr(error, "verify_message", "") or (error.reason or "no reason given").lower().replace("_", " ")
    return f"its TLS handshake failed: {detail}"


def _name(peer: Any) -> str:
    client = host_port(peer)
    return client[0] if client else "a Unix socket"
