"""Listening sockets: TCP, Unix, inherited. No other code opens one."""

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from protocols.errors import BindError
from protocols.net import passed
from protocols.net.acceptor import Acceptor, Handover
from protocols.net.addresses import AddressLimit, AddressRate, Networks
from protocols.net.connection_counters import ConnectionCounters
from protocols.net.descriptors import Descriptors
from protocols.net.tls import TLS, Certificate, newer
from protocols.private_files import tighten
from protocols.tasks import Tasks
from protocols.units import TCP, BindAddress, Inherited, Unix, parse_address

__all__ = ["TLS", "Listener"]

_REASONS = {
    errno.EADDRINUSE: "the address is already in use; stop the program that uses it, or choose another",
    errno.EACCES: "permission denied",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EBADF: "no such file descriptor was inherited",
    errno.ENOTSOCK: "the inherited file descriptor is not a socket",
}
_AT_ONCE = 100
"""Connections accepted in one turn of the loop."""
_PAUSE = 1.0
"""Seconds between two checks whether the system has descriptors, or memory, for one more connection."""


class Listener:
    """Accepts connections on one address and makes a protocol object for each.

    Connections from the addresses and networks in ``proxies`` begin with a PROXY header; ``max_per_address`` bounds the
    connections of one client address, ``max_rate`` its new ones a minute (0 means no limit); ``alpn`` lists the
    protocols offered under TLS.

    The listener pauses when the process runs short of descriptors, before the last of them are used up; new connections
    then wait in the system's queue. With ``reserved`` it may use the last ones too. A Unix socket that is ``private``
    is for this user alone.
    """

    def __init__(
        self,
        bind: str,
        *,
        tls: TLS | None = None,
        backlog: int = 1024,
        proxies: Sequence[str] = (),
        max_per_address: int = 0,
        max_rate: int = 0,
        alpn: Sequence[str] = (),
        reserved: bool = False,
        private: bool = False,
    ) -> None:
        self.bind: BindAddress = parse_address(bind)
        self.counters = ConnectionCounters()
        self.certificate: Certificate | None = None
        """The certificate that it uses now; None before the start, or if it speaks no TLS."""
        self.tls = tls
        self._backlog = backlog
        self.proxies = Networks(proxies)
        self.address_limit = AddressLimit(max_per_address)
        self.rate = AddressRate(max_rate)
        self._alpn = alpn
        self._reserved = reserved
        self._private = private
        self._sockets: list[socket.socket] = []
        self._sources: list[_Source] = []
        self._tasks = Tasks(bind)
        self._paused: asyncio.Task[None] | None = None
        self._open = contextlib.ExitStack()
        self._acceptor: Acceptor | None = None
        self._inherited: list[socket.socket] = []
        self._has_successor = False

    @property
    def backlog(self) -> int:
        """How many connections may wait in the system's queue."""
        return self._backlog

    @property
    def is_private(self) -> bool:
        """Whether its Unix socket is for this user alone."""
        return self._private

    def inherit(self, sockets: Sequence[socket.socket], *, are_kept: bool = False) -> None:
        """Listen on ``sockets``, a predecessor's :meth:`copies`, instead of binding the address; bind it if there are
        none. Before start.

        A connection that comes between the two waits in the system's queue, and is never refused. Where the sockets
        ``are_kept`` by another process, the path of a Unix socket stays at the end.
        """
        self._has_successor = are_kept
        self._inherited = list(sockets)
        for each in self._inherited:
            self._open.callback(each.close)
            # One that came from another process has no timeout here. Its first dup() would then make it block, in both
            # processes: an accept would hold up the loop until the next client comes.
            each.settimeout(0)

    def copies(self) -> list[socket.socket]:
        """Return copies of the listening sockets, which are open for as long as any of them is."""
        return [each.dup() for each in self._sockets]

    def prepare(self) -> None:
        """Read the certificate. Raises BindError."""
        if self.tls is not None and self.certificate is None:
            self.certificate = Certificate(self.tls, self._alpn)

    async def become(self, made: "Listener", *, limit: int, refusal: bytes = b"") -> None:
        """Accept connections as ``made`` would, which is prepared, on the same sockets. See :meth:`start`."""
        if (acceptor := self._acceptor) is None:
            return
        was_direct = acceptor.direct
        self.tls, self.proxies = made.tls, made.proxies
        self.address_limit.limit, self.rate.limit = made.address_limit.limit, made.rate.limit
        self.certificate = newer(self.certificate, made.certificate)
        acceptor.become(limit=limit, refusal=refusal, proxies=self.proxies, certificate=self.certificate)
        if acceptor.direct != was_direct:
            await self._accept_anew(acceptor)

    async def _accept_anew(self, acceptor: Acceptor) -> None:
        """Accept by sources of the kind that the acceptor needs now. Connections wait in the system's queue."""
        for each in self._sources:
            each.pause()
        self._sources = [_source(each, acceptor, self._backlog) for each in self._sockets]
        if self._paused is None:
            for source in self._sources:
                await source.accept()

    async def start(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        count: Callable[[], int],
        limit: int,
        refusal: bytes = b"",
        make_room: Callable[[], bool] | None = None,
    ) -> None:
        """Bind and accept. Raises BindError.

        ``limit`` is the most that ``count()`` may reach, including connections in their TLS handshake. One connection
        more gets ``refusal`` (the protocol's "try later"; may be empty; not sent under TLS) and is closed. The same
        happens to one connection more than ``max_per_address``. Both are logged at most once a minute. ``make_room``
        closes a connection at the limit, so that the new one gets its place, and returns whether it could.
        """
        self.prepare()
        try:
            self._sockets = self._inherited or await bound(self.bind, self._backlog, private=self._private)
        except OSError as error:
            raise BindError(f"{self.bind}: {reason(self.bind, error)}") from error
        if self._private and self._inherited and isinstance(self.bind, Unix):
            tighten(Path(self.bind.path))  # the predecessor's need not have been
        descriptors = Descriptors(self._sockets[0].fileno(), reserved=self._reserved)
        self._acceptor = acceptor = Acceptor(
            factory,
            label=self.address,
            count=count,
            limit=limit,
            refusal=refusal,
            address_limit=self.address_limit,
            address_rate=self.rate,
            proxies=self.proxies,
            certificate=self.certificate,
            max_descriptor=descriptors.maximum,
            pause=lambda why: self._pause(descriptors, acceptor, why),
            counters=self.counters,
            make_room=make_room,
        )
        self._open.callback(acceptor.close)
        if isinstance(self.bind, Unix):
            self._open.callback(self._unlink, self.bind.path)
        for each in self._sockets:
            self._open.callback(each.close)
            self._sources.append(_source(each, acceptor, self._backlog))
            await self._sources[-1].accept()

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system chose in place of port 0."""
        if self._sockets and isinstance(self.bind, TCP):
            return str(TCP(self.bind.host, self._sockets[0].getsockname()[1]))
        return str(self.bind)

    @property
    def connections(self) -> int:
        """Connections that are open, with those in their TLS handshake."""
        return self._acceptor.connections if self._acceptor is not None else 0

    @property
    def paused(self) -> bool:
        """Whether it accepts nothing because the process is short of descriptors."""
        return self._paused is not None

    async def retire(self) -> None:
        """Accept no more connections, because a successor has the sockets, and wait until those that were accepted have
        reached the server. After :meth:`inherit` of the successor, before :meth:`stop`."""
        self._has_successor = True
        self._stop_accepting()
        if self._acceptor is not None:
            await self._acceptor.settle()

    def stop(self) -> None:
        """Accept no more connections; established ones go on. Idempotent."""
        self._stop_accepting()
        self._open.close()
        self._sockets = []
        self._sources = []

    def _stop_accepting(self) -> None:
        if self._paused is not None:
            self._paused.cancel()
        for each in self._sources:
            each.pause()

    def _unlink(self, path: str) -> None:
        if not self._has_successor:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _pause(self, descriptors: Descriptors, acceptor: Acceptor, why: str) -> None:
        """Accept nothing until enough descriptors are free again."""
        if self._paused is None and self._sockets and not self._has_successor:
            self.counters.pauses += 1
            acceptor.warnings.warn("%s; accepting no connections until some are free", why)
            for each in self._sources:
                each.pause()
            self._paused = self._tasks.spawn(self._resume_later(descriptors), name="a pause")

    async def _resume_later(self, descriptors: Descriptors) -> None:
        free = False
        while not free:
            await asyncio.sleep(_PAUSE)
            free = descriptors.are_free()
        for each in self._sources:
            await each.accept()
        self._paused = None


def reason(address: BindAddress, error: OSError) -> str:
    """Say why ``address`` cannot be bound, and what to do about it."""
    if error.errno == errno.EACCES and isinstance(address, TCP):
        return "permission denied; ports below 1024 need a privilege"
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


async def bound(address: BindAddress, backlog: int, *, private: bool) -> list[socket.socket]:
    """Return listening sockets: one, or one for each address of a host name. Raises OSError."""
    match address:
        case TCP(host, port):
            return await _bind_tcp(host, port, backlog)
        case Unix(path):
            remove_stale(path)
            listening = socket.socket(socket.AF_UNIX)
            with _closed_on_error(listening):
                listening.bind(path)
                if private:  # nobody has connected by then: it does not listen yet
                    tighten(Path(path))
        case Inherited(which):
            return [_listening(os.dup(number), backlog) for number in passed.numbers(which)]
    with _closed_on_error(listening):
        listening.listen(backlog)
        listening.settimeout(0)
    return [listening]


def _listening(descriptor: int, backlog: int) -> socket.socket:
    """Return the socket of a copied ``descriptor``: the original stays open, for those that listen on it later."""
    listening = socket.socket(fileno=descriptor)
    with _closed_on_error(listening):
        listening.listen(backlog)
        listening.settimeout(0)
    return listening


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


class _ReaderSource:
    """Accepts connections on any loop."""

    def __init__(self, listening: socket.socket, acceptor: Acceptor) -> None:
        self._listening = listening
        self._acceptor = acceptor
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
        """Take the waiting connections."""
        try:
            for _ in range(_AT_ONCE):
                if self._accepts:
                    self._acceptor.take_socket(*self._listening.accept())
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            # The socket stays readable, so that trying again at once would leave the loop no time for anything else.
            self._acceptor.pause(error.strerror or str(error))


class _UvloopSource:
    """Accepts connections by uvloop's own server, which takes half the time.

    It takes one in each turn of the loop. A busy server has long turns, so the others that wait are taken in the same.
    asyncio's is not used: when it has no descriptors, it tries a thousand times and logs each.
    """

    def __init__(self, listening: socket.socket, acceptor: Acceptor, backlog: int) -> None:
        self._listening = listening
        self._acceptor = acceptor
        self._protocol = partial(Handover, self._take)
        self._backlog = backlog
        self._looks = False
        self._server: asyncio.AbstractServer | None = None

    async def accept(self) -> None:
        """Serve on a copy of the socket: the server closes it at its end, and the system's queue must stay."""
        if self._listening.fileno() >= 0:
            loop = asyncio.get_running_loop()
            serve = loop.create_unix_server if self._listening.family == socket.AF_UNIX else loop.create_server
            self._server = await serve(self._protocol, sock=self._listening.dup(), backlog=self._backlog)
            if self._listening.fileno() < 0:  # the listener was stopped meanwhile
                self.pause()

    def _take(self, transport: asyncio.Transport) -> None:
        self._acceptor.take_transport(transport)
        if not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_soon(self._take_others)

    def _take_others(self) -> None:
        self._looks = False
        with contextlib.suppress(OSError):  # uvloop's next accept has the same error
            for _ in range(_AT_ONCE):
                if self._server is not None:
                    self._acceptor.take_socket(*self._listening.accept())

    def pause(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


_Source = _ReaderSource | _UvloopSource
"""What accepts connections on one listening socket."""


def _source(listening: socket.socket, acceptor: Acceptor, backlog: int) -> _Source:
    loop = asyncio.get_running_loop()
    if acceptor.direct and not isinstance(loop, asyncio.BaseEventLoop):
        return _UvloopSource(listening, acceptor, backlog)
    return _ReaderSource(listening, acceptor)


def remove_stale(path: str) -> None:
    """Remove a socket file that a killed process left behind. Raises OSError if another program serves it, or if the
    file is not a socket."""
    if not os.path.exists(path):
        return
    if not stat.S_ISSOCK(os.stat(path).st_mode):
        raise OSError(errno.EEXIST, "a file of this name exists, and it is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # another program serves it and is slow to accept
    raise OSError(errno.EADDRINUSE, "in use")
