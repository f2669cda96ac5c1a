"""Listening sockets: TCP, Unix, inherited. The only code that opens one."""

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from protocols.addresses import Crowd, Networks
from protocols.arrivals import Arrivals, Entrance
from protocols.errors import BindError
from protocols.tls import TLS, Certificate
from protocols.units import TCP, Endpoint, Inherited, Unix, parse_address

__all__ = ["TLS", "Listener"]

_REASONS = {
    errno.EADDRINUSE: "the address is already in use; stop the program that has it or choose another",
    errno.EACCES: "permission denied",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EBADF: "no such file descriptor was inherited",
    errno.ENOTSOCK: "the inherited file descriptor is not a socket",
}
_AT_ONCE = 100
"""Connections accepted before the loop has its turn."""
_REST = 1.0
"""Seconds without accepting, where the system has no descriptor or memory for one more connection."""


class Listener:
    """Accepts connections on one address and makes a protocol object for each.

    ``proxies`` are the addresses and networks whose connections begin with a PROXY header; ``max_per_address`` bounds
    the connections of one client address (0: no bound); ``alpn`` are the protocols offered under TLS.
    """

    def __init__(
        self,
        bind: str,
        *,
        tls: TLS | None = None,
        backlog: int = 1024,
        proxies: Sequence[str] = (),
        max_per_address: int = 0,
        alpn: Sequence[str] = (),
    ) -> None:
        self.endpoint: Endpoint = parse_address(bind)
        self._tls = tls
        self._backlog = backlog
        self._proxies = Networks(proxies)
        self._max_per_address = max_per_address
        self._alpn = alpn
        self._sockets: list[socket.socket] = []
        self._open = contextlib.ExitStack()

    async def start(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        count: Callable[[], int],
        limit: int,
        refusal: bytes = b"",
    ) -> None:
        """Bind and accept. Raises BindError.

        ``limit`` bounds what ``count()`` may reach, connections in their TLS handshake included; one more gets
        ``refusal`` (the protocol's own words for "try later", may be empty; not under TLS) and is closed, as is one
        more than ``max_per_address``. That is logged at most once a minute.
        """
        certificate = Certificate(self._tls, self._alpn) if self._tls else None
        try:
            self._sockets = await _bind(self.endpoint, self._backlog)
        except OSError as error:
            raise BindError(f"{self.endpoint}: {_reason(self.endpoint, error)}") from error
        arrivals = Arrivals(
            factory,
            label=self.address,
            count=count,
            limit=limit,
            refusal=refusal,
            crowd=Crowd(self._max_per_address),
            proxies=self._proxies,
            certificate=certificate,
        )
        self._open.callback(arrivals.close)
        if isinstance(self.endpoint, Unix):
            self._open.callback(_unlink, self.endpoint.path)
        for each in self._sockets:
            await self._serve(each, arrivals)

    async def _serve(self, listening: socket.socket, arrivals: Arrivals) -> None:
        loop = asyncio.get_running_loop()
        self._open.callback(listening.close)
        # uvloop's own way takes half the time; asyncio's, out of descriptors, tries a thousand times and logs each.
        if arrivals.direct and not isinstance(loop, asyncio.BaseEventLoop):
            serve = loop.create_unix_server if listening.family == socket.AF_UNIX else loop.create_server
            server = await serve(partial(Entrance, arrivals.greet), sock=listening, backlog=self._backlog)
            self._open.callback(server.close)
        else:
            self._open.callback(loop.remove_reader, listening)
            _listen(listening, arrivals)

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system gave for port 0."""
        if self._sockets and isinstance(self.endpoint, TCP):
            return str(TCP(self.endpoint.host, self._sockets[0].getsockname()[1]))
        return str(self.endpoint)

    def stop(self) -> None:
        """Accept no more; established connections go on. Idempotent."""
        self._open.close()
        self._sockets = []


def _reason(endpoint: Endpoint, error: OSError) -> str:
    if error.errno == errno.EACCES and isinstance(endpoint, TCP):
        return "permission denied; ports below 1024 need a privilege"
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


async def _bind(endpoint: Endpoint, backlog: int) -> list[socket.socket]:
    """Listening sockets: one, or one for each address of a host's name. Raises OSError."""
    match endpoint:
        case TCP(host, port):
            return await _bind_tcp(host, port, backlog)
        case Unix(path):
            _remove_stale(path)
            listening = socket.socket(socket.AF_UNIX)
            with _closed_on_error(listening):
                listening.bind(path)
        case Inherited(fd):
            listening = socket.socket(fileno=fd)
    with _closed_on_error(listening):
        listening.listen(backlog)
        listening.settimeout(0)
    return [listening]


async def _bind_tcp(host: str, port: int, backlog: int) -> list[socket.socket]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as bound:
        sockets = []
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            sockets.append(bound.enter_context(socket.create_server(address, family=family, backlog=backlog)))
            sockets[-1].settimeout(0)
        bound.pop_all()
    return sockets


@contextlib.contextmanager
def _closed_on_error(opened: socket.socket) -> Iterator[None]:
    try:
        yield
    except OSError:
        opened.close()
        raise


def _listen(listening: socket.socket, arrivals: Arrivals) -> None:
    if listening.fileno() >= 0:
        asyncio.get_running_loop().add_reader(listening, _accept, listening, arrivals)


def _accept(listening: socket.socket, arrivals: Arrivals) -> None:
    """Take the connections that wait."""
    try:
        for _ in range(_AT_ONCE):
            arrivals.take(*listening.accept())
    except (BlockingIOError, InterruptedError, ConnectionAbortedError):
        return
    except OSError as error:
        # The socket stays readable: to ask again at once would be to do nothing else.
        arrivals.log.warn("accepts nothing for %g s: %s", _REST, error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        loop.call_later(_REST, _listen, listening, arrivals)


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _remove_stale(path: str) -> None:
    """Remove a socket file that a killed process left behind; one that somebody serves is in use, and what is no socket
    is somebody's."""
    if not os.path.exists(path):
        return
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        raise OSError(errno.EEXIST, "there is a file of this name, and it is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # served, by somebody who is slow to accept
    raise OSError(errno.EADDRINUSE, "in use")
