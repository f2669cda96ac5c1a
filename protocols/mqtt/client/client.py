"""A client of an existing MQTT broker: the ``mqtt`` scope in the role ``client``, for each connection."""

import asyncio
import errno
import logging
import random
import socket
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal

from protocols.asgi import Application, MQTTScope
from protocols.checkpoint import checkpoint
from protocols.errors import AccountRefused, Away, BindError, Disconnected
from protocols.events import checked
from protocols.lazy_names import imported
from protocols.mqtt.broker.journal import Persistence
from protocols.mqtt.broker.journal_writer import JournalWriter
from protocols.mqtt.client.app_runs import NO_ROOM, RECONNECT, AppRuns
from protocols.mqtt.client.broker_connection import BrokerConnection
from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.refused import Refused
from protocols.mqtt.client.run import publish
from protocols.mqtt.client.session import ClientSession
from protocols.mqtt.client.settings import MQTTClientSettings
from protocols.mqtt.events import CHECKS
from protocols.mqtt.scope import mqtt_scope
from protocols.mqtt.wire.reasons import ACCOUNT_REFUSED
from protocols.server import Outdated, Server, ServerStatus
from protocols.tasks import LAST_WORDS, Tasks

__all__ = ["MQTTClient", "MQTTClientSettings"]

logger = logging.getLogger(__name__)


class MQTTClient(Server):
    """Connected to a broker for as long as it runs; a broker that is away is tried again for ever.

    What the application did not acknowledge stays with the broker, which delivers it again on the next connection.
    ``persistence``: where it keeps what QoS 2 has to know after a restart, if it does.
    """

    protocol = "mqtt-client"
    scope_types = ("mqtt",)
    exclusive = True

    def __init__(
        self,
        app: Application,
        settings: MQTTClientSettings,
        *,
        name: str = "mqtt-client",
        state: dict[str, Any] | None = None,
        persistence: Persistence | None = None,
    ) -> None:
        super().__init__(app, name=name, state=state)
        self.settings = settings
        home = "protocols.mqtt.client.websocket:open_websocket"  # needs a large HTTP client
        self._open_websocket = imported(home) if settings.is_websocket else None
        self._version: Literal["3.1.1", "5.0"] = settings.version
        self.persistence = persistence
        self._writer = JournalWriter(persistence, name) if persistence is not None else None
        self._writing = Tasks(name)
        journal = self._writer.journal if self._writer is not None else None
        self._session = ClientSession(journal, f"{self.address} {self._client_id}")
        self._connections: set[AppRuns] = set()
        """The connection that is up, if one is."""
        self._refused: Refused | None = None
        """Why the broker refuses us, if somebody has to repair that."""
        self._stopping = False

    @property
    def address(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    @property
    def _client_id(self) -> str:
        return self.settings.client_id_of(self.name)

    def active(self) -> dict[str, int]:
        count = sum(connection.unacknowledged for connection in self._connections)
        return {"mqtt": count} if count else {}

    async def start(self) -> None:
        await self._restore()
        self.status = ServerStatus("connecting")
        self.tasks.spawn(self._stay_connected(), name="connection")

    def can_become(self, made: Server) -> bool:
        """With the same settings it keeps its connection, whose application stays until it ends."""
        if not isinstance(made, MQTTClient) or not self.is_where(made):
            return False
        return (self.settings, self.persistence) == (made.settings, made.persistence)

    def under_way(self) -> Collection["asyncio.Future[Any]"]:
        return [each.over for each in self._connections]

    def outdated(self) -> Iterable[Outdated]:
        return [each for each in self._connections if each.generation != self.generation]

    async def _restore(self) -> None:
        if self.persistence is None or self._writer is None:
            return
        try:
            self._session.restore(await self.persistence.load())
        except OSError as error:
            raise BindError(f"its session: {error}") from error
        except (ValueError, IndexError) as error:
            raise BindError(f"what was kept of its session cannot be read: {error}") from error
        self._writing.spawn(self._writer.run(), name="mqtt-client journal")

    async def stop(self, grace: float) -> None:
        """Acknowledge what has arrived as it is handled, take nothing more, and say goodbye."""
        deadline = asyncio.get_running_loop().time() + grace
        self.status = ServerStatus("draining")
        self._stopping = True
        for connection in list(self._connections):
            await connection.drain(grace)
            await self.tasks.drain(max(LAST_WORDS, deadline - asyncio.get_running_loop().time()))
        await self.tasks.cancel()
        await self._writing.cancel()
        if self._writer is not None:
            await self._writer.close()
        self.status = ServerStatus("stopped")

    async def publish(self, event: Mapping[str, Any]) -> None:
        """Publish outside a run. When this returns, the broker has taken a message at QoS 1 or 2. Raises Away if the
        broker is away, Disconnected if it goes meanwhile, AccountRefused if it refuses us, NotSent if it does not take
        the message, and LocalProtocolError if ``event`` is not a publication.
        """
        publication = checked(CHECKS, {**event, "type": "mqtt.send"})
        for connection in self._connections:
            await publish(connection.broker, publication)
            await checkpoint()
            return
        if self._refused is not None:
            raise AccountRefused(str(self._refused))
        raise Away("the broker is away", lambda: bool(self._connections))

    async def _stay_connected(self) -> None:
        pauses = self._pauses()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            reason = await self._connect_and_serve()
            if self._stopping:
                return
            if reason in (NO_ROOM, RECONNECT):
                level = logging.WARNING if reason == NO_ROOM else logging.INFO
                logger.log(level, "mqtt-client %s %s: %s", self.name, self.address, reason)
                continue
            if loop.time() - began > self.settings.retry_max:
                pauses = self._pauses()
            pause = next(pauses)
            self.status = ServerStatus("connecting", f"{reason}; next try in {pause:.2g} s")
            logger.warning("mqtt-client %s %s: %s", self.name, self.address, self.status.detail)
            await asyncio.sleep(pause)

    def _pauses(self) -> Iterator[float]:
        """Yield pauses that double up to the longest. Each is shortened by up to a quarter at random, so that many
        clients do not come at once."""
        pause = self.settings.retry
        while True:
            yield pause * random.uniform(0.75, 1.0)  # noqa: S311 -- no secret
            pause = min(pause * 2, self.settings.retry_max)

    async def _connect_and_serve(self) -> str:
        """Serve one connection until it is over, or could not begin; return why."""
        try:
            broker = await self._connect()
        except (Refused, OSError, UnicodeError) as error:
            self._refused = error if isinstance(error, Refused) and error.answer in ACCOUNT_REFUSED else None
            return _sentence(error, self.settings) + self._hint(error)
        self._refused = None
        connection = AppRuns(
            self.app,
            lambda: self._scope(broker),
            broker,
            self.settings,
            self._opened,
            self.tasks.context,
            self.generation,
        )
        self._connections.add(connection)
        try:
            return await connection.serve()
        finally:
            self._connections.discard(connection)

    def _hint(self, error: Exception) -> str:
        """Some brokers of 3.1.1 close the connection, or wait for more, where MQTT-3.1.2-2 wants a return code 1."""
        is_silent = isinstance(error, TimeoutError | Disconnected)
        if not is_silent or self._version == "3.1.1" or not self._session.is_new:
            return ""
        return '; if the broker speaks only MQTT 3.1.1, set version: "3.1.1"'

    async def _connect(self) -> BrokerConnection:
        async with asyncio.timeout(self.settings.timeout):
            try:
                return await BrokerConnection.connect(self._options(), self._session)
            except Refused as error:
                if self._version == "3.1.1" or not error.is_version:
                    raise
            logger.info("mqtt-client %s: %s does not speak MQTT 5.0; trying 3.1.1", self.name, self.address)
            self._version = "3.1.1"
            return await BrokerConnection.connect(self._options(), self._session)

    def _opened(self) -> None:
        count, parallel = len(self.settings.subscribe), self.settings.parallel
        secure = "TLS; " if self.settings.is_secure else ""
        detail = f"{secure}{self._version}; {count} subscription{'' if count == 1 else 's'}"
        self.status = ServerStatus("ready", detail if parallel == 1 else f"{detail}, {parallel} instances")

    def _options(self) -> ConnectOptions:
        settings = self.settings
        return ConnectOptions(
            url=settings.url,
            open_websocket=self._open_websocket,
            host=settings.host,
            port=settings.port,
            client_id=self._client_id,
            username=settings.username,
            password=settings.password.reveal() if settings.password else None,
            tls=settings.context(),
            version=self._version,
            keepalive=settings.keepalive,
            clean_start=settings.clean_start,
            session_expiry=int(settings.session_expiry),
            receive_maximum=settings.receive_maximum,
            max_packet=settings.max_packet,
            timeout=settings.timeout,
        )

    def _scope(self, broker: BrokerConnection) -> MQTTScope:
        own, peer = broker.names
        return mqtt_scope(
            role="client",
            listener=self.name,
            client_id=self._client_id,
            state=self.state,
            version=self._version,
            username=self.settings.username,
            clean_start=self.settings.clean_start,
            keepalive=self.settings.keepalive,
            session_present=broker.session_present,
            properties=broker.properties,
            transport="websocket" if self.settings.is_websocket else "tcp",
            client=peer[:2] if peer else None,
            server=own[:2] if own else None,
            tls={} if self.settings.is_secure else None,
        )


def _sentence(error: Exception, settings: MQTTClientSettings) -> str:
    """Why there is no connection, in a few words for the operator."""
    match error:
        case Refused() | Disconnected():
            return str(error)
        case TimeoutError():
            return f"no answer within {settings.timeout:g} s"
        case socket.gaierror() | UnicodeError():
            return f"there is no host {settings.host!r}"
        case ssl.SSLCertVerificationError():
            return f"TLS: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS: {error.reason or 'handshake failed'}"
        case ConnectionRefusedError():
            return "connection refused"
        case _:  # asyncio makes one OSError of many where a name has several addresses
            refused = f"[Errno {errno.ECONNREFUSED}]" in str(error)
            return "connection refused" if refused else str(error) or type(error).__name__
