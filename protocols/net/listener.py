"""Listening sockets: TCP, Unix, inherited. The only code that opens one."""

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from protocols.errors import BindError
from protocols.net.acceptor import Arrivals, Entrance
from protocols.net.addresses import Crowd, Networks
from protocols.net.descriptors import Descriptors
from protocols.net.tls import TLS, Certificate
from protocols.tasks import Tasks
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
"""Seconds between two looks whether the system has descriptors, or memory, for one more connection."""


class Listener:
    """Accepts connections on one address and makes a protocol object for each.

    ``proxies`` are the addresses and networks whose connections begin with a PROXY header; ``max_per_address`` bounds
    the connections of one client address (0: no bound); ``alpn`` are the protocols offered under TLS.

    It rests when the process's descriptors run short, before the last of them are used up: who comes then waits in the
    system's queue. ``reserved``: this one may use those too.
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
        reserved: bool = False,
    ) -> None:
        self.endpoint: Endpoint = parse_address(bind)
        self._tls = tls
        self._backlog = backlog
        self._proxies = Networks(proxies)
        self._max_per_address = max_per_address
        self._alpn = alpn
        self._reserved = reserved
        self._sockets: list[socket.socket] = []
        self._acceptors: list[_Acceptor] = []
        self._tasks = Tasks(bind)
        self._resting: asyncio.Task[None] | None = None
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
            raise BindError(f"{self.endpoint}: {reason(self.endpoint, error)}") from error
        descriptors = Descriptors(self._sockets[0].fileno(), reserved=self._reserved)
        arrivals = Arrivals(
            factory,
            label=self.address,
            count=count,
            limit=limit,
            refusal=refusal,
            crowd=Crowd(self._max_per_address),
            proxies=self._proxies,
            certificate=certificate,
            most=descriptors.most,
            rest=lambda why: self._rest(descriptors, arrivals, why),
        )
        self._open.callback(arrivals.close)
        if isinstance(self.endpoint, Unix):
            self._open.callback(_unlink, self.endpoint.path)
        for each in self._sockets:
            self._open.callback(each.close)
            self._acceptors.append(_acceptor(each, arrivals, self._backlog))
            self._open.callback(self._acceptors[-1].pause)
            await self._acceptors[-1].accept()

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system gave for port 0."""
        if self._sockets and isinstance(self.endpoint, TCP):
            return str(TCP(self.endpoint.host, self._sockets[0].getsockname()[1]))
        return str(self.endpoint)

    def stop(self) -> None:
        """Accept no more; established connections go on. Idempotent."""
        if self._resting is not None:
            self._resting.cancel()
        self._open.close()
        self._sockets = []
        self._acceptors = []

    def _rest(self, descriptors: Descriptors, arrivals: Arrivals, why: str) -> None:
        """Accept nothing until there is room again."""
        if self._resting is None and self._sockets:
            arrivals.log.warn("%s; it accepts nothing until there is room", why)
            for each in self._acceptors:
                each.pause()
            self._resting = self._tasks.spawn(self._go_on_later(descriptors), name="a rest")

    async def _go_on_later(self, descriptors: Descriptors) -> None:
        room = False
        while not room:
            await asyncio.sleep(_REST)
            room = descriptors.have_room()
        self._resting = None
        for each in self._acceptors:
            await each.accept()


def reason(endpoint: Endpoint, error: OSError) -> str:
    """Why ``endpoint`` cannot be had, and what to do."""
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


class _Reader:
    """Accepts on any loop."""

    def __init__(self, listening: socket.socket, arrivals: Arrivals) -> None:
        self._listening = listening
        self._arrivals = arrivals
        self._accepts = False

    async def accept(self) -> None:
        if self._listening.fileno() >= 0:
            self._accepts = True
            asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def pause(self) -> None:
        if self._accepts:
            self._accepts = False
            asyncio.get_running_loop().remove_reader(self._listening)

    def _accept(self) -> None:
        """Take the connections that wait."""
        try:
            for _ in range(_AT_ONCE):
                if self._accepts:
                    self._arrivals.take(*self._listening.accept())
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            # The socket stays readable: to ask again at once would be to do nothing else.
            self._arrivals.rest(error.strerror or str(error))


class _UvloopServer:
    """uvloop's own way takes half the time; asyncio's, out of descriptors, tries a thousand times and logs each."""

    def __init__(self, listening: socket.socket, arrivals: Arrivals, backlog: int) -> None:
        self._listening = listening
        self._entrance = partial(Entrance, arrivals.greet)
        self._backlog = backlog
        self._server: asyncio.AbstractServer | None = None

    async def accept(self) -> None:
        """On a copy of the socket, which the server closes with itself: the system's queue stays."""
        if self._listening.fileno() >= 0:
            loop = asyncio.get_running_loop()
            serve = loop.create_unix_server if self._listening.family == socket.AF_UNIX else loop.create_server
            self._server = await serve(self._entrance, sock=self._listening.dup(), backlog=self._backlog)
            if self._listening.fileno() < 0:  # stopped meanwhile
                self.pause()

    def pause(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


_Acceptor = _Reader | _UvloopServer


def _acceptor(listening: socket.socket, arrivals: Arrivals, backlog: int) -> _Acceptor:
    loop = asyncio.get_running_loop()
    if arrivals.direct and not isinstance(loop, asyncio.BaseEventLoop):
        return _UvloopServer(listening, arrivals, backlog)
    return _Reader(listening, arrivals)


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
