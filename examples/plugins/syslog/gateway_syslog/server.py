"""The server: it listens on UDP and TCP at one address, and runs the application once for each message."""

import asyncio
import contextlib
import logging
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from gateway_syslog.events import CHECKS, DISCONNECT, SENDS
from gateway_syslog.message import Frames, SyslogMessage, parse
from protocols.app_run import AppRun
from protocols.asgi import VERSIONS, Application, describe
from protocols.errors import BindError, RemoteProtocolError
from protocols.event_id import new_id
from protocols.events import Event
from protocols.net.listener import Listener
from protocols.server import SETTINGS_CONFIG, Server, ServerStatus
from protocols.tasks import Tasks
from protocols.units import TCP, Address, Count, Length, parse_address

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SyslogSettings:
    """A server that takes syslog messages (RFC 5424) over UDP and TCP."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["syslog"] = "syslog"
    bind: Address = "127.0.0.1:5514"
    """Where it listens, on UDP and on TCP."""
    max_message: Length = 64 * 1024
    """A longer message is dropped; over TCP its connection is closed."""
    max_waiting: Count = 1000
    """Messages over UDP that wait for the application at a time; more are dropped, since UDP cannot slow a sender."""
    max_connections: Count = 1000
    """TCP connections at a time; one more is closed. A message is read when the one before it has been handled."""


class SyslogRun(AppRun):
    """One run of the application over one message. An application that returns without a verdict accepts it."""

    sends: ClassVar = SENDS
    checks: ClassVar = CHECKS

    def __init__(self, app: Application, scope: Any, event: Any) -> None:
        super().__init__(app, scope)
        self.feed(event)
        self.feed(DISCONNECT)  # type: ignore[arg-type]  # the events of this package are not in protocols.asgi

    def syslog_accept(self, event: Event) -> None: ...

    def syslog_reject(self, event: Event) -> None:
        logger.info("%s: rejected", describe(self.scope))

    def syslog_defer(self, event: Event) -> None:
        logger.warning("%s: deferred and lost: syslog has no second try; use inbox: true", describe(self.scope))


class SyslogServer(Server):
    protocol = "syslog"
    scope_types = ("syslog",)
    listener: Listener
    exclusive = True
    """A successor inherits the TCP socket, but cannot have the UDP socket's address beside this one."""

    def __init__(
        self, app: Application, settings: SyslogSettings, *, name: str = "syslog", state: dict[str, Any] | None = None
    ) -> None:
        super().__init__(app, name=name, state=state)
        self.settings = settings
        self._running = 0
        self._dropped = 0
        self._connections = Tasks(f"syslog {name}")
        self._udp: asyncio.DatagramTransport | None = None
        self.listener = Listener(settings.bind)

    @property
    def address(self) -> str:
        return self.listener.address

    def active(self) -> dict[str, int]:
        return {"syslog": self._running} if self._running else {}

    async def start(self) -> None:
        place = parse_address(self.settings.bind)
        if not isinstance(place, TCP):
            raise BindError(f"{place}: there is no UDP; write host:port")
        await self.listener.start(
            self._stream, count=lambda: len(self._connections), limit=self.settings.max_connections
        )
        _, _, port = self.listener.address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            self._udp, _ = await loop.create_datagram_endpoint(lambda: _UDP(self), (place.host, int(port)))
        except OSError as error:
            raise BindError(f"{place} over UDP: {error.strerror}") from error
        self.status = ServerStatus("ready", "UDP and TCP")

    async def stop(self, grace: float) -> None:
        self.status = ServerStatus("draining")
        self.listener.stop()
        if self._udp is not None:
            self._udp.close()
        await self._connections.cancel()
        await self.tasks.drain(grace)
        await self.tasks.cancel()
        self.status = ServerStatus("stopped")

    def datagram(self, data: bytes, client: tuple[str, int]) -> None:
        if self._running >= self.settings.max_waiting:
            self._dropped += 1
            if self._dropped.bit_count() == 1:
                logger.warning("syslog %s: %d messages over UDP dropped: too many wait", self.name, self._dropped)
            return
        self.tasks.spawn(self._handle(data, client), name="datagram")

    def _stream(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.spawn(self._read(reader, writer), name="connection")

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A message is handled, or stored, before the next is read: TCP slows a sender down."""
        client = writer.get_extra_info("peername")[:2]
        frames = Frames(self.settings.max_message)
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while data := await reader.read(64 * 1024):
                try:
                    messages = frames.feed(data)
                except RemoteProtocolError as error:
                    logger.warning("syslog %s: %s: %s; connection closed", self.name, client[0], error)
                    return
                for each in messages:
                    # A connection that ends must not end what is being handled.
                    await asyncio.shield(self.tasks.spawn(self._handle(each, client), name="message"))

    async def _handle(self, data: bytes, client: tuple[str, int]) -> None:
        try:
            if len(data) > self.settings.max_message:
                raise RemoteProtocolError("the message is too long")
            message = parse(data)
        except RemoteProtocolError as error:
            logger.warning("syslog %s: %s: dropped: %s", self.name, client[0], error)
            return
        self._running += 1
        try:
            event = {"type": "syslog.receive", "text": message.text}
            await SyslogRun(self.app, self._scope(message, client), event).run()
        finally:
            self._running -= 1

    def _scope(self, message: SyslogMessage, client: tuple[str, int]) -> dict[str, Any]:
        facts = asdict(message)
        del facts["text"]
        return {
            "type": "syslog",
            "asgi": VERSIONS,
            "listener": self.name,
            "client": client,
            "server": None,
            "extensions": {"event": {"id": new_id()}},
            "state": self.state.copy(),
            **facts,
        }


class _UDP(asyncio.DatagramProtocol):
    def __init__(self, server: SyslogServer) -> None:
        self._server = server

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.datagram(data, addr[:2])
