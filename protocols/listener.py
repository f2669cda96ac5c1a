"""Listening sockets: TCP, Unix, inherited; TLS; a bound on connections. The only code that opens one."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from protocols.errors import BindError
from protocols.units import TCP, Endpoint, Inherited, Unix, parse_address

logger = logging.getLogger(__name__)

_REASONS = {
    errno.EADDRINUSE: "the address is already in use; stop the program that has it or choose another",
    errno.EACCES: "permission denied; ports below 1024 need a privilege",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EBADF: "no such file descriptor was inherited",
    errno.ENOTSOCK: "the inherited file descriptor is not a socket",
}


@dataclass(frozen=True)
class TLS:
    """Transport Layer Security of a listener."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "use_attribute_docstrings": True}

    certificate: str
    """Path of the PEM file with the certificate and its chain."""
    key: str
    """Path of the PEM file with the private key."""
    client_ca: str | None = None
    """Path of a PEM file; where set, a client must show a certificate that one of these authorities signed."""

    def context(self) -> ssl.SSLContext:
        """Raises BindError with one sentence where a file is missing or wrong."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise BindError(f"TLS: {self.certificate}, {self.key}: {error.strerror or error}") from error
        return context


class Listener:
    """Accepts connections on one address and makes a protocol object for each.

    ``limit`` bounds what ``count()`` may reach; one more connection gets ``refusal`` (the protocol's own words for
    "try later", may be empty) and is closed, and that is logged at most once a minute.
    """

    def __init__(self, bind: str, *, tls: TLS | None = None, backlog: int = 1024) -> None:
        self.endpoint: Endpoint = parse_address(bind)
        self._tls = tls
        self._backlog = backlog
        self._server: asyncio.Server | None = None
        self._last_warning = -60.0

    async def start(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        count: Callable[[], int],
        limit: int,
        refusal: bytes = b"",
    ) -> None:
        """Bind and accept. Raises BindError."""

        def accept() -> asyncio.BaseProtocol:
            if count() < limit:
                return factory()
            self._warn(limit)
            return _Refusal(refusal)

        context = self._tls.context() if self._tls else None
        try:
            self._server = await self._create(accept, context)
        except OSError as error:
            raise BindError(f"{self.endpoint}: {_REASONS.get(error.errno or 0, error.strerror or error)}") from error

    async def _create(self, accept: Callable[[], asyncio.BaseProtocol], tls: ssl.SSLContext | None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        match self.endpoint:
            case TCP(host, port):
                return await loop.create_server(accept, host, port, ssl=tls, backlog=self._backlog)
            case Unix(path):
                _remove_stale(path)
                return await loop.create_unix_server(accept, path, ssl=tls, backlog=self._backlog)
            case Inherited(fd):
                return await loop.create_server(accept, sock=socket.socket(fileno=fd), ssl=tls, backlog=self._backlog)

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system gave for port 0."""
        if self._server is not None and self._server.sockets and isinstance(self.endpoint, TCP):
            return str(TCP(self.endpoint.host, self._server.sockets[0].getsockname()[1]))
        return str(self.endpoint)

    def stop(self) -> None:
        """Accept no more; established connections go on. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if isinstance(self.endpoint, Unix):
            with contextlib.suppress(OSError):
                os.unlink(self.endpoint.path)

    def _warn(self, limit: int) -> None:
        if time.monotonic() - self._last_warning >= 60:
            self._last_warning = time.monotonic()
            logger.warning("%s: %d connections, the limit; more are refused", self.address, limit)


class _Refusal(asyncio.Protocol):
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        transport.write(self._answer)
        transport.close()


def _remove_stale(path: str) -> None:
    """Remove a socket file that a killed process left behind; one that somebody serves is in use."""
    if not os.path.exists(path):
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(errno.EADDRINUSE, "in use")
