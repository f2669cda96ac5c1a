"""A client of an existing MQTT broker: the ``mqtt`` scope in the role ``client``, one for each connection."""

import asyncio
import contextlib
import errno
import logging
import random
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from protocols.asgi import (
    VERSIONS,
    Application,
    MQTTAcceptEvent,
    MQTTAckEvent,
    MQTTDropEvent,
    MQTTReceiveEvent,
    MQTTRejectEvent,
    MQTTScope,
    MQTTSendEvent,
    MQTTSubscribeEvent,
    MQTTUnsubscribeEvent,
    describe,
)
from protocols.errors import Disconnected, LocalProtocolError
from protocols.instance import Instance
from protocols.mqtt.link import Address, Arrived, Link, Lost, Refused
from protocols.mqtt.topics import valid_filter, valid_name
from protocols.secret import Secret
from protocols.server import SETTINGS_CONFIG, Server, Status
from protocols.units import Bytes, Seconds

logger = logging.getLogger(__name__)

_OVERFLOW = 16
"""Times the inbox that may wait while we read on, although it is full, for an answer from the broker."""
_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, kw_only=True)
class MQTTClientSettings:
    """Raises ValueError for a URL or a topic filter that cannot be one."""

    __pydantic_config__: ClassVar[Any] = SETTINGS_CONFIG

    protocol: Literal["mqtt-client"] = "mqtt-client"
    url: str
    """``mqtt://host:port``, or ``mqtts://`` for TLS. Default ports: 1883 and 8883."""
    subscribe: tuple[str, ...] = ()
    """Topic filters to subscribe to, at each connection; ``$share/<group>/<filter>`` shares them among clients."""
    qos: Literal[0, 1] = 1
    """QoS of the subscriptions. 1: the broker keeps a message until it is acknowledged. 0: it may be lost."""
    username: str | None = None
    """Who we are to the broker."""
    password: Secret | None = None
    """Goes with ``username``."""
    client_id: str = ""
    """The broker knows our session by it, so that it must stay the same, and be nobody else's. Default: the server's
    name and this machine's (``plant-box1``)."""
    version: Literal["3.1.1", "5.0"] = "5.0"
    """MQTT version. A broker that refuses 5.0 is asked again with 3.1.1."""
    keepalive: int = 60
    """Seconds after which a silent connection is probed; after twice of it without a word it is closed."""
    clean_start: bool = False
    """Begin each connection without the session of the last: what came while we were away is lost."""
    session_expiry: Seconds = 86400.0
    """How long the broker keeps our session, and what arrives for it, while we are away (5.0; a 3.1.1 broker decides
    for itself)."""
    inbox: int = 64
    """Messages that may wait for the application. Then reading stops (5.0: and the broker sends no more than these)."""
    max_packet: Bytes = 1024 * 1024
    """Largest packet that the broker may send us (5.0)."""
    ca: str | None = None
    """Path of a PEM file with the authorities that may sign the broker's certificate. Default: the system's."""
    certificate: str | None = None
    """Path of the PEM file with our own certificate and its chain, for brokers that ask for one."""
    key: str | None = None
    """Path of the PEM file with our private key; goes with ``certificate``."""
    timeout: Seconds = 10.0
    """How long to wait for the broker: to connect, and for each answer."""
    retry: Seconds = 1.0
    """Pause before the second attempt to connect; it doubles with each one that fails."""
    retry_max: Seconds = 60.0
    """The longest pause."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or not _has_port(parts):
            raise ValueError(f"url: {parts.scheme}://... is no broker; write mqtt://host:1883 or mqtts://host:8883")
        if parts.username is not None:
            raise ValueError("url: write the user and the password as username and password")
        for text in self.subscribe:
            if not valid_filter(text):
                raise ValueError(f"subscribe: {text!r} is no topic filter")

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or _PORTS[parts.scheme]

    def tls(self) -> ssl.SSLContext | None:
        """Raises OSError where a file is missing or wrong."""
        if urlsplit(self.url).scheme == "mqtt":
            return None
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


class Run(Instance):
    """One connection's application run."""

    sends: ClassVar = {
        "connecting": {"mqtt.accept": "open", "mqtt.reject": "over"},
        "open": {
            "mqtt.ack": "open",
            "mqtt.send": "open",
            "mqtt.subscribe": "open",
            "mqtt.unsubscribe": "open",
            "mqtt.disconnect": "over",
        },
    }

    def __init__(
        self,
        app: Application,
        scope: MQTTScope,
        link: Link,
        settings: MQTTClientSettings,
        opened: Callable[[], None],
    ) -> None:
        super().__init__(app, scope)
        self.limit = settings.inbox  # type: ignore[misc]  # the class's default, but for this run
        self.unacknowledged: set[int] = set()
        self.settled = asyncio.Event()
        """Set while nothing that arrived waits for its ``mqtt.ack``."""
        self.settled.set()
        self.draining = False
        self.ending = "the application has ended"
        self._link = link
        self._settings = settings
        self._opened = opened
        self._dropped = 0
        self.feed({"type": "mqtt.connect", "username": settings.username, "password": None})
        link.watch(self.lost)

    def arrived(self, message: Arrived) -> None:
        if self.draining:  # not acknowledged: the broker keeps it for our next connection
            return
        if message.id is not None:
            self.unacknowledged.add(message.id)
            self.settled.clear()
        elif len(self._inbox) >= _OVERFLOW * self.limit:
            self._drop()
            return
        self.feed(_event(message))

    def _drop(self) -> None:
        """QoS 0 that arrives although the inbox overflows: we read on, for an answer that the application waits for."""
        self._dropped += 1
        if self._dropped == 1:
            logger.warning("%s: too slow; messages at QoS 0 are dropped", describe(self.scope))

    def lost(self, lost: Lost) -> None:
        self.end(lost.reason, lost.code)

    def end(self, reason: str, code: int, clean: bool = False) -> None:
        self.disconnect({"type": "mqtt.disconnect", "reason_code": code, "reason": reason, "clean": clean})

    def pause(self) -> None:
        self._link.pause()

    def resume(self) -> None:
        self._link.resume()

    async def mqtt_accept(self, event: MQTTAcceptEvent) -> None:
        self._link.deliver(self.arrived)
        if self._settings.subscribe:
            await self._subscribe()
        self._opened()

    async def _subscribe(self) -> None:
        filters = [(text, int(self._settings.qos)) for text in self._settings.subscribe]
        try:
            await self._link.subscribe(filters, self._settings.timeout)
        except Refused as error:
            # Not the application's mistake, and half a subscription would look like a quiet broker.
            self._link.drop(str(error))
            raise Disconnected(str(error)) from error

    def mqtt_reject(self, event: MQTTRejectEvent) -> None:
        self.ending = "the application rejected the connection"

    def mqtt_ack(self, event: MQTTAckEvent) -> None:
        if event["id"] not in self.unacknowledged:
            raise LocalProtocolError(f"mqtt.ack: no message {event['id']} waits for it")
        self.unacknowledged.discard(event["id"])
        self._link.acknowledge(event["id"], event.get("reason_code", 0))
        if not self.unacknowledged:
            self.settled.set()

    async def mqtt_send(self, event: MQTTSendEvent | Mapping[str, Any]) -> None:
        topic, qos = event["topic"], event.get("qos", 0)
        payload: object = event["payload"]
        if not valid_name(topic) or not isinstance(payload, bytes) or qos not in (0, 1):
            raise LocalProtocolError(f"mqtt.send to {topic!r}: no topic name, no bytes, or neither QoS 0 nor 1")
        retain, properties = event.get("retain", False), event.get("properties", {})
        try:
            await self._link.publish(topic, payload, qos, retain, properties, self._settings.timeout)
        except (struct.error, TypeError, ValueError, AttributeError) as error:
            raise LocalProtocolError(f"mqtt.send: a property with a value that it cannot have: {error}") from error

    async def mqtt_subscribe(self, event: MQTTSubscribeEvent) -> None:
        for text, qos in event["filters"]:
            if not valid_filter(text) or qos not in (0, 1):
                raise LocalProtocolError(f"mqtt.subscribe: {text!r} is no topic filter, or neither QoS 0 nor 1")
        await self._link.subscribe(event["filters"], self._settings.timeout)

    async def mqtt_unsubscribe(self, event: MQTTUnsubscribeEvent) -> None:
        await self._link.unsubscribe(event["filters"], self._settings.timeout)

    async def mqtt_disconnect(self, event: MQTTDropEvent) -> None:
        self.ending = "the application closed the connection"
        await self._link.close(event.get("reason_code", 0))


class MQTTClient(Server):
    """Connected to a broker for as long as it runs; a broker that is away is tried again for ever.

    What the application did not acknowledge stays with the broker, which delivers it again on the next connection.
    """

    protocol = "mqtt-client"
    scope_types = ("mqtt",)

    def __init__(
        self,
        app: Application,
        settings: MQTTClientSettings,
        *,
        name: str = "mqtt-client",
        state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(app, name=name, state=state)
        self.settings = settings
        self._version: Literal["3.1.1", "5.0"] = settings.version
        self._runs: set[Run] = set()
        """The run of the connection that is up, if one is."""
        self._stopping = False

    @property
    def address(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    def active(self) -> dict[str, int]:
        count = sum(len(run.unacknowledged) for run in self._runs)
        return {"mqtt": count} if count else {}

    async def start(self) -> None:
        self.status = Status("connecting")
        self.tasks.spawn(self._stay_connected(), name="connection")

    async def stop(self, grace: float) -> None:
        """Acknowledge what has arrived as it is handled, take nothing more, and say goodbye."""
        deadline = asyncio.get_running_loop().time() + grace
        self.status = Status("draining")
        self._stopping = True
        for run in list(self._runs):
            run.draining = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await run.settled.wait()
            run.end("the gateway stops", 0, clean=True)
            await self.tasks.drain(deadline - asyncio.get_running_loop().time())
        await self.tasks.cancel()
        self.status = Status("stopped")

    async def publish(self, event: Mapping[str, Any]) -> None:
        """``mqtt.send`` outside a run: to the broker, which has acknowledged it at QoS 1 when this returns. Raises
        Disconnected where it is away, LocalProtocolError for what is no publication."""
        for run in self._runs:
            await run.mqtt_send(event)
            return
        raise Disconnected("the broker is away")

    async def _stay_connected(self) -> None:
        pauses = self._pauses()
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            reason = await self._connection()
            if self._stopping:
                return
            if loop.time() - began > self.settings.retry_max:
                pauses = self._pauses()
            pause = next(pauses)
            self.status = Status("connecting", f"{reason}; next try in {pause:.2g} s")
            logger.warning("mqtt-client %s %s: %s", self.name, self.address, self.status.detail)
            await asyncio.sleep(pause)

    def _pauses(self) -> Iterator[float]:
        """Doubling, up to the longest, each up to a quarter shorter, so that many clients do not come at once."""
        pause = self.settings.retry
        while True:
            yield pause * random.uniform(0.75, 1.0)  # noqa: S311 -- no secret
            pause = min(pause * 2, self.settings.retry_max)

    async def _connection(self) -> str:
        """Connect, serve until it is over, and say why it is."""
        try:
            link = await self._connect()
        except (Refused, OSError, UnicodeError) as error:
            return _sentence(error, self.settings)
        run = Run(self.app, self._scope(link), link, self.settings, self._opened)
        self._runs.add(run)
        try:
            return await self._serve(run, link)
        finally:
            self._runs.discard(run)
            run.settled.set()
            await link.close()

    async def _connect(self) -> Link:
        async with asyncio.timeout(self.settings.timeout):
            try:
                return await Link.connect(self._address())
            except Refused as error:
                if self._version == "3.1.1" or not error.is_version:
                    raise
            logger.info("mqtt-client %s: %s does not speak MQTT 5.0; trying 3.1.1", self.name, self.address)
            self._version = "3.1.1"
            return await Link.connect(self._address())

    async def _serve(self, run: Run, link: Link) -> str:
        error = await run.run()
        if link.lost and not link.closed_by_us:
            return link.lost.reason
        return f"the application failed ({type(error).__name__})" if error else run.ending

    def _opened(self) -> None:
        count = len(self.settings.subscribe)
        self.status = Status("ready", f"{self._version}; {count} subscription{'' if count == 1 else 's'}")

    def _address(self) -> Address:
        settings = self.settings
        return Address(
            host=settings.host,
            port=settings.port,
            client_id=settings.client_id or f"{self.name}-{socket.gethostname()}",
            username=settings.username,
            password=settings.password.reveal() if settings.password else None,
            tls=settings.tls(),
            version=self._version,
            keepalive=settings.keepalive,
            clean_start=settings.clean_start,
            session_expiry=int(settings.session_expiry),
            receive_maximum=settings.inbox,
            max_packet=settings.max_packet,
        )

    def _scope(self, link: Link) -> MQTTScope:
        own, peer = link.names
        return {
            "type": "mqtt",
            "asgi": VERSIONS,
            "listener": self.name,
            "client": peer[:2] if peer else None,
            "server": own[:2] if own else None,
            "extensions": {"tls": {}} if urlsplit(self.settings.url).scheme == "mqtts" else {},
            "state": self.state.copy(),
            "role": "client",
            "protocol_version": self._version,
            "client_id": self._address().client_id,
            "username": self.settings.username,
            "clean_start": self.settings.clean_start,
            "keepalive": self.settings.keepalive,
            "session_present": link.session_present,
            "will": None,
            "properties": link.properties,
            "transport": "tcp",
        }


def _has_port(parts: SplitResult) -> bool:
    """Whether its port, if it names one, is a port."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _event(message: Arrived) -> MQTTReceiveEvent:
    return {
        "type": "mqtt.receive",
        "topic": message.topic,
        "payload": message.payload,
        "qos": message.qos,
        "retain": message.retain,
        "dup": message.dup,
        "id": message.id,
        "properties": message.properties,
    }


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
        case FileNotFoundError():
            return f"{error.filename}: no such file"
        case ConnectionRefusedError():
            return "connection refused"
        case _:  # asyncio makes one OSError of many where a name has several addresses
            refused = f"[Errno {errno.ECONNREFUSED}]" in str(error)
            return "connection refused" if refused else str(error) or type(error).__name__
