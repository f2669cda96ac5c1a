"""One network connection to a broker, on gmqtt. The only file that touches gmqtt.

gmqtt's codec, keep-alive and id allocation are used as they are. What it does by itself (reconnect, acknowledge,
replay, log) is not: a `Link` lives as long as its connection, and its owner decides. For that some of gmqtt's inner
names are taken over below; a test holds them against the version that is installed. gmqtt 0.8 opens TCP sockets only,
so that it is given the stream of a websocket; and at QoS 2 it sends a PUBREC before a plain function could say that a
message is handled, or never, and hands on one that is sent again.
"""

# ruff: noqa: SLF001 -- the names within gmqtt that this file takes over

import asyncio
import logging
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gmqtt
from gmqtt.mqtt.connection import MQTTConnection
from gmqtt.mqtt.constants import MQTTCommands, MQTTv50, MQTTv311
from gmqtt.mqtt.package import PublishPacket
from gmqtt.mqtt.protocol import MQTTProtocol

from protocols.errors import Disconnected, RemoteProtocolError
from protocols.mqtt.client.session import ClientSession
from protocols.mqtt.client.websocket import open_websocket
from protocols.mqtt.wire.reasons import (
    PACKET_ID_NOT_FOUND,
    QOS_NOT_SUPPORTED,
    RETAIN_NOT_SUPPORTED,
    SUCCESS,
    TOO_LARGE,
    UNSPECIFIED,
)
from protocols.tasks import Tasks

_VERSIONS = {"3.1.1": MQTTv311, "5.0": MQTTv50}
_UNSUPPORTED_VERSION = (1, 0x84)
_ALL_IDS = 65536
SLICE = 4 * 1024
"""Bytes from the broker that are looked at without a pause: some hundred small packets, some milliseconds."""
_READ = 64 * 1024
"""The same of a large packet, so that it need not be put together from too many pieces."""

# gmqtt tells of every oddity by log records, tracebacks included. What matters of it reaches the owner as `lost`.
_silent = logging.getLogger("protocols.mqtt.client.link.gmqtt")
_silent.disabled = True
logging.getLogger("gmqtt.mqtt.protocol").addFilter(lambda record: False)

REASONS = {
    1: "it does not speak this version of MQTT",
    2: "it does not like the client id",
    3: "it is not available",
    4: "bad user name or password",
    5: "not authorized",
    0x80: "it gives no reason",
    0x82: "protocol error",
    0x83: "an error of its own",
    0x84: "it does not speak this version of MQTT",
    0x85: "it does not like the client id",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "it is not available",
    0x89: "it is busy",
    0x8A: "banned",
    0x8B: "it is shutting down",
    0x8C: "bad authentication method",
    0x8D: "it had not heard from us in time",
    0x8E: "another client has taken over our client id",
    0x8F: "it does not like the topic filter",
    0x90: "it does not like the topic name",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x98: "its operator has closed it",
    0x99: "the payload is not what its format says",
    0x9A: "it retains nothing",
    0x9B: "it does not take this QoS",
    0x9C: "use another server",
    0x9D: "the server has moved",
    0x9E: "it has no shared subscriptions",
    0x9F: "too many connections at a time",
    0xA2: "it has no wildcard subscriptions",
}
"""CONNACK return codes of 3.1.1 and reason codes of 5.0 (section 2.4), as ends of a sentence about the broker."""


class Refused(RemoteProtocolError):
    """The broker said no; ``answer`` is its return or reason code."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"the broker refused {what}: {_words(code)}", answer=code)
        self.is_version = code in _UNSUPPORTED_VERSION


@dataclass(frozen=True)
class Address:
    """Where a broker is and who we are to it."""

    url: str
    host: str
    port: int
    client_id: str
    websocket: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    version: str = "5.0"
    keepalive: int = 60
    clean_start: bool = False
    session_expiry: int = 0
    """Seconds (5.0)."""
    receive_maximum: int = 64
    """Unacknowledged messages that the broker may have sent us (5.0)."""
    max_packet: int = 1024 * 1024
    """Bytes of the largest packet that the broker may send us (5.0)."""


@dataclass(frozen=True)
class Arrived:
    """A PUBLISH from the broker; ``id`` is None at QoS 0."""

    id: int | None
    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    properties: dict[str, Any]


@dataclass(frozen=True)
class Lost:
    """Why a connection is over."""

    reason: str
    code: int = 0x80
    """The broker's reason code where it gave one (5.0), else unspecified."""


class _Protocol(MQTTProtocol):  # type: ignore[misc]
    """gmqtt's, which reads on as long as there is something in the buffer: 20,000 small packets at a time."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reads = asyncio.Event()
        """Whether what arrives is looked at."""
        self.reads.set()
        self._rest = b""  # the beginning of a packet

    async def _read_loop(self) -> None:
        await self._connected.wait()
        while self._connected.is_set():
            await self.reads.wait()
            try:
                data = self._rest + await self.read(min(_READ, max(SLICE, len(self._rest))))
            except ConnectionResetError:  # the broker has closed the connection
                break
            parsed = self._read_packet(data)
            self._rest = data[max(0, parsed) :]
            if parsed < 0 or self._transport.is_closing():
                break
            await asyncio.sleep(0)

    def unread(self) -> bytes:
        """What had arrived when the connection was lost, and was not looked at."""
        return self._rest + bytes(self._hard_reader._buffer)


class _Client(gmqtt.Client):  # type: ignore[misc]  # gmqtt has no types
    """gmqtt's client, deaf and dumb but for what `Link` asks."""

    def __init__(self, address: Address, link: "Link") -> None:
        properties: dict[str, Any] = {}
        if address.version == "5.0":
            properties = {
                "session_expiry_interval": address.session_expiry,
                "receive_maximum": address.receive_maximum,
                "maximum_packet_size": address.max_packet,
            }
        # Bytes, because gmqtt counts the characters of a str and writes its UTF-8.
        super().__init__(
            address.client_id.encode(),
            clean_session=address.clean_start,
            optimistic_acknowledgement=False,
            logger=_silent,
            **properties,
        )
        if address.username is not None:
            self.set_auth_credentials(address.username, address.password)
        handler = self._package_handler
        self.decode = handler._handle_packet
        handler._handle_packet = link._packet
        handler._handle_qos_1_publish_packet = partial(link._at_least_once, 1)
        handler._handle_qos_2_publish_packet = link._exactly_once
        self.on_message = link._unacknowledged
        self.on_subscribe = link._suback
        self.on_unsubscribe = link._unsuback
        self._open = partial(_open, address, link.tasks)

    async def reconnect(self, delay: bool = False) -> None:
        """gmqtt calls this whenever a connection ends; ours end for good."""

    async def _create_connection(self, host: str, port: int, ssl: Any, clean_session: bool, keepalive: int) -> Any:
        """gmqtt's own knows TCP alone."""
        handler = self._package_handler
        protocol = _Protocol(connection_state=self._connection_state, id_generator=handler.id_generator)
        transport = await self._open(protocol)
        return MQTTConnection(transport, protocol, clean_session, keepalive, handler, logger=_silent)


async def _open(address: Address, tasks: Tasks, protocol: asyncio.Protocol) -> asyncio.BaseTransport:
    """Raises OSError."""
    if address.websocket:
        return await open_websocket(address.url, address.tls, address.max_packet, protocol, tasks)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, address.host, address.port, ssl=address.tls)
    return transport


class Link:
    """A connection that is up, made by `connect`. Its owner calls `watch`, `deliver`, and at the end `close`."""

    def __init__(self, address: Address, session: ClientSession) -> None:
        self.lost: Lost | None = None
        """Why it is over, when it is."""
        self.closed_by_us = False
        self.session_present = False
        self.properties: dict[str, Any] = {}
        """The CONNACK's (5.0)."""
        self.tasks = Tasks("mqtt-client")
        self._session = session
        self._early: list[Arrived] = []
        self._deliver: Callable[[Arrived], None] = self._early.append
        self._tell: Callable[[Lost], None] = _ignore
        self._client = _Client(address, self)
        self._connack: int | None = None
        self._waiting: dict[int, asyncio.Future[Sequence[int]]] = {}
        self._window = asyncio.Semaphore(1)
        self._full = False
        self._in_hand: set[int] = set()
        """Messages at QoS 2 that the application has."""

    @classmethod
    async def connect(cls, address: Address, session: ClientSession) -> "Link":
        """Connect and say who we are. Raises Refused, OSError (``ssl.SSLError`` too) or Disconnected."""
        link = cls(address, session)
        try:
            await link._connect(address)
        except BaseException:
            link.abort()
            raise
        return link

    def watch(self, lost: Callable[[Lost], None]) -> None:
        """Call ``lost`` once when the connection is over, before anybody who waits for an answer learns of it."""
        self._tell = lost
        if self.lost:
            lost(self.lost)

    def deliver(self, deliver: Callable[[Arrived], None]) -> None:
        """Call ``deliver`` with each message from now on; until then nothing is read.

        A broker may send what it kept for our session together with its CONNACK: that comes first.
        """
        self._deliver = deliver
        for message in self._early:
            deliver(message)
        self._early.clear()
        self.resume()

    async def _connect(self, address: Address) -> None:
        # raise_exc=False: what is wrong is known here, in `_packet`, before gmqtt sees it.
        await self._client.connect(
            address.host,
            address.port,
            keepalive=address.keepalive,
            version=_VERSIONS[address.version],
            raise_exc=False,
        )
        if self._connack:
            raise Refused("us", self._connack)
        self._alive()
        self.pause()

    def _resume_session(self) -> None:
        """A connection's first words in a session that goes on: what was published is released (4.4).

        Whoever published it was told that its fate is unknown. So a PUBREL where a PUBREC has not come, too: the broker
        has the message, and delivers it, or answers that it has none. Either way the id is free.
        """
        # gmqtt draws ids below the receive maximum, which says how many, not which.
        self._ids._max = _ALL_IDS
        self._window = asyncio.Semaphore(min(_ALL_IDS // 2, self.properties.get("receive_maximum", _ALL_IDS)))
        self._session.begin(self.session_present)
        for id_ in sorted(self._session.unreleased):
            self._ids._used_ids.add(id_)
            self._release(id_)

    @property
    def names(self) -> tuple[Any, Any]:
        """The socket's own name and its peer's."""
        transport = self._transport
        return transport.get_extra_info("sockname"), transport.get_extra_info("peername")

    # What its owner asks.

    def acknowledge(self, id: int, reason_code: int = 0) -> None:
        """PUBACK, or PUBREC. Of a message at QoS 2 it is remembered even where the connection is lost."""
        if id in self._in_hand:
            self._in_hand.discard(id)
            self._session.handled[id] = reason_code
            self._receive(id)
        else:
            self._answer(MQTTCommands.PUBACK, id, reason_code)

    async def publish(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: dict[str, Any], timeout: float
    ) -> None:
        """Return when the socket has taken it (QoS 0) or the broker has (QoS 1 and 2).

        Raises Refused, or Disconnected, also where there is no answer within ``timeout`` seconds.
        """
        self._alive()
        if qos > self.properties.get("maximum_qos", 2):
            raise Refused(f"a message to {topic!r}", QOS_NOT_SUPPORTED)
        if retain and not self.properties.get("retain_available", 1):  # it would close the connection (3.2.2.3.5)
            raise Refused(f"a message to {topic!r}", RETAIN_NOT_SUPPORTED)
        message = gmqtt.Message(topic, payload, qos=qos, retain=retain, **_to_gmqtt(properties))
        if qos:
            async with self._window:
                await self._publish(message, topic, timeout)
        else:
            self._send(self._encoded(message, topic)[1])
            await self._drain(timeout)

    async def _publish(self, message: gmqtt.Message, topic: str, timeout: float) -> None:
        self._alive()
        id_, packet = self._encoded(message, topic)
        if message.qos == 2:
            await self._clear(id_, timeout)
            self._session.unreleased.add(id_)
        [code] = await self._ask(id_, lambda: self._send(packet), timeout)
        if code >= UNSPECIFIED:
            raise Refused(f"a message to {topic!r}", code)

    async def _clear(self, id_: int, timeout: float) -> None:
        """A process before this one may have left its own message under this id: ours would be taken for that one."""
        if self._session.is_doubtful(id_):
            await self._ask(id_, lambda: self._release(id_), timeout)
            self._session.clear(id_)
            self._ids._used_ids.add(id_)

    def _encoded(self, message: gmqtt.Message, topic: str) -> tuple[int, bytes]:
        """Raises Refused for what is larger than the broker takes (3.2.2.3.6)."""
        id_, packet = PublishPacket.build_package(message, self._connection._protocol)
        if len(packet) > self.properties.get("maximum_packet_size", len(packet)):
            self._ids.free_id(id_)
            raise Refused(f"a message to {topic!r}", TOO_LARGE)
        return id_, packet

    async def subscribe(self, filters: Sequence[tuple[str, int]], timeout: float) -> None:
        """Raises Refused where the broker refuses one of them, or Disconnected."""
        subscriptions = [gmqtt.Subscription(text, qos=qos) for text, qos in filters]
        codes = await self._ask(self._connection.subscribe(subscriptions), _nothing, timeout)
        for (text, _), code in zip(filters, codes, strict=False):
            if code >= 0x80:
                raise Refused(f"the subscription {text!r}", code)

    async def unsubscribe(self, filters: Sequence[str], timeout: float) -> None:
        # Bytes, for the same reason as the client id.
        await self._ask(self._connection.unsubscribe([text.encode() for text in filters]), _nothing, timeout)

    def pause(self) -> None:
        """Read no more, but for the answers that somebody here waits for."""
        self._full = True
        self._read_or_not()

    def resume(self) -> None:
        self._full = False
        self._read_or_not()

    def drop(self, reason: str) -> None:
        """Close at once, because of ``reason``."""
        self._end(Lost(reason))
        self.abort()

    async def close(self, reason_code: int = 0) -> None:
        """Say goodbye and close; bounded."""
        if not self.lost:
            self._connection.send_disconnect(reason_code=reason_code)
            self._end_by_us(reason_code)
        if not self._transport.is_closing():  # TLS in asyncio that is closed twice can be aborted no more
            self._transport.close()  # what is written leaves first
        await asyncio.wait({self._connection._protocol.closed}, timeout=1.0)
        self.abort()
        await self.tasks.cancel()

    def abort(self) -> None:
        """Close at once."""
        self._end_by_us(0)
        connection = self._client._connection
        if connection is not None:
            connection.keepalive = 0
            connection._transport.abort()

    def _end_by_us(self, reason_code: int) -> None:
        self.closed_by_us = self.closed_by_us or not self.lost
        self._end(Lost("closed by us", reason_code))

    # The conversation.

    @property
    def _connection(self) -> Any:
        return self._client._connection

    @property
    def _transport(self) -> asyncio.Transport:
        transport: asyncio.Transport = self._connection._transport
        return transport

    def _alive(self) -> None:
        if self.lost:
            raise Disconnected(self.lost.reason)

    @property
    def _ids(self) -> Any:
        return self._client._package_handler.id_generator

    def _send(self, packet: bytes) -> None:
        if not self._transport.is_closing():
            self._connection.send_package(packet)

    def _answer(self, command: int, id_: int, reason_code: int = SUCCESS) -> None:
        if not self._transport.is_closing():
            self._client._send_command_with_mid(command, id_, dup=False, reason_code=reason_code)

    def _release(self, id_: int) -> None:
        self._answer(MQTTCommands.PUBREL | 2, id_)

    async def _ask(self, id_: int, send: Callable[[], None], timeout: float) -> Sequence[int]:
        """Send a packet and wait for the reason codes that answer its id."""
        self._alive()
        answer = self._waiting[id_] = asyncio.get_running_loop().create_future()
        send()
        self._read_or_not()
        try:
            async with asyncio.timeout(timeout):
                codes: Sequence[int] = await answer
                return codes
        except TimeoutError as error:
            self.drop(f"no answer from the broker within {timeout:g} s")
            raise Disconnected("no answer from the broker") from error
        finally:
            del self._waiting[id_]
            self._read_or_not()

    async def _drain(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._connection._protocol._drain_helper()  # asyncio's, which StreamWriter.drain() calls
        except TimeoutError as error:
            self.drop(f"the broker has read nothing for {timeout:g} s")
            raise Disconnected("the broker does not read") from error
        except ConnectionError as error:
            raise Disconnected("the connection is lost") from error

    def _read_or_not(self) -> None:
        """A full inbox stops the reading, unless an answer is waited for: its handler would wait for ever."""
        if self._transport.is_closing():
            return
        if self._full and not self._waiting:
            self._transport.pause_reading()
            self._connection._protocol.reads.clear()
            # gmqtt would take our not reading for the broker's silence; its pings go on.
            self._connection._last_data_in = float("inf")
        else:
            self._connection._last_data_in = time.monotonic()
            self._transport.resume_reading()
            self._connection._protocol.reads.set()

    def _end(self, lost: Lost) -> None:
        if not self.lost:
            self.lost = lost
            self._tell(lost)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Disconnected(lost.reason))
        self._client._connack_received.set()  # ends gmqtt's wait for it

    # What gmqtt calls.

    def _packet(self, command: int, packet: bytes) -> None:
        """Every packet. gmqtt's decoder raises whatever it may on a malformed one."""
        try:
            match command & 0xF0:
                case MQTTCommands.CONNACK:
                    self._on_connack(command, packet)
                case MQTTCommands.PUBACK | MQTTCommands.PUBREC | MQTTCommands.PUBREL | MQTTCommands.PUBCOMP as kind:
                    [id_] = struct.unpack("!H", packet[:2])
                    self._on_step(kind, id_, packet[2] if len(packet) > 2 else SUCCESS)
                case MQTTCommands.DISCONNECT if packet:
                    self._end(Lost(f"the broker closed the connection: {_words(packet[0])}", packet[0]))
                case MQTTCommands.DISCONNECT:  # gmqtt makes an empty one of a lost connection
                    self._read_last_words(self._connection._protocol.unread())
                case _:
                    self._client.decode(command, packet)
        except Exception:  # struct.error, IndexError, UnicodeDecodeError, KeyError, ...
            self.drop("the broker sent a malformed packet")

    def _on_step(self, kind: int, id_: int, code: int) -> None:
        """A step of a message's conversation (4.3), theirs or ours; those of QoS 2 go on whoever waits."""
        match kind:
            case MQTTCommands.PUBREL:
                known = self._session.handled.pop(id_, None) is not None
                self._answer(MQTTCommands.PUBCOMP, id_, SUCCESS if known else PACKET_ID_NOT_FOUND)
            case MQTTCommands.PUBREC if code < UNSPECIFIED:
                self._release(id_)
            case MQTTCommands.PUBCOMP:
                self._session.unreleased.discard(id_)
                self._answered(id_, [SUCCESS])
            case _:  # PUBACK, or a PUBREC that refuses
                self._session.unreleased.discard(id_)
                self._answered(id_, [code])

    def _receive(self, id_: int) -> None:
        """PUBREC, for a message that the application is done with. One that refuses ends the conversation (5.0)."""
        if self._transport.is_closing():
            return
        code = self._session.handled[id_]
        self._answer(MQTTCommands.PUBREC, id_, code)
        if code >= UNSPECIFIED and self._connection._protocol.proto_ver == MQTTv50:
            del self._session.handled[id_]

    def _read_last_words(self, data: bytes, size: int = SLICE) -> None:
        """Gmqtt forgets what had arrived together with the end of the connection: perhaps the reason for it."""
        parsed = self._connection._protocol._read_packet(data[:size])
        if self.lost or parsed < 0 or (not parsed and size >= len(data)):
            self._end(Lost("the connection is lost"))
        else:  # a packet may be longer
            more = SLICE if parsed else 2 * size
            asyncio.get_running_loop().call_soon(self._read_last_words, data[parsed:], more)

    def _on_connack(self, command: int, packet: bytes) -> None:
        self._connack = packet[1]
        if self._connack:
            self._client._connack_received.set()
        else:
            self.session_present = bool(packet[0] & 1)
            self._client.decode(command, packet)
            self.properties = _from_gmqtt(self._client._package_handler._connack_properties)
            self._resume_session()  # now: messages may have come in the same segment

    def _at_least_once(self, qos: int, mid: int, payload: bytes, topic: str, properties: dict[str, Any]) -> None:
        self._arrived(mid, topic, payload, qos, properties)

    def _exactly_once(self, mid: int, payload: bytes, topic: str, properties: dict[str, Any]) -> None:
        """Sent again after its PUBREC was lost, or (3.1.1) while the application has it, it is no new message."""
        if mid in self._session.handled:
            self._receive(mid)
        elif mid not in self._in_hand:
            self._in_hand.add(mid)
            self._arrived(mid, topic, payload, 2, properties)

    def _unacknowledged(self, client: Any, topic: str, payload: bytes, qos: int, properties: dict[str, Any]) -> None:
        self._arrived(None, topic, payload, qos, properties)

    def _arrived(self, mid: int | None, topic: str, payload: bytes, qos: int, properties: dict[str, Any]) -> None:
        flags = bool(properties.pop("retain")), bool(properties.pop("dup"))
        self._deliver(Arrived(mid, topic, payload, qos, *flags, _from_gmqtt(properties)))

    def _suback(self, client: Any, mid: int, codes: Sequence[int], properties: Any) -> None:
        self._answered(mid, codes)

    def _unsuback(self, client: Any, mid: int, codes: Sequence[int]) -> None:
        self._answered(mid, codes)

    def _answered(self, mid: int, codes: Sequence[int]) -> None:
        self._ids.free_id(mid)
        answer = self._waiting.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(codes)


def _ignore(lost: Lost) -> None:
    pass


def _nothing() -> None:
    """gmqtt has sent the packet when it tells the id."""


def _words(code: int) -> str:
    return REASONS.get(code, f"code 0x{code:02X}")


# MQTT 5's own names, where gmqtt has others.
_NAMES = {
    "payload_format_id": "payload_format_indicator",
    "max_qos": "maximum_qos",
    "sub_id_available": "subscription_identifier_available",
    "response_info": "response_information",
    "auth_method": "authentication_method",
}
_THEIR_NAMES = {ours: theirs for theirs, ours in _NAMES.items()}
_LISTS = ("user_property", "subscription_identifier")


def _from_gmqtt(properties: dict[str, list[Any]]) -> dict[str, Any]:
    """gmqtt has a list for each property; only those that may occur twice (2.2.2.2) keep it."""
    return {
        _NAMES.get(name, name): values if name in _LISTS else values[0] for name, values in properties.items() if values
    }


def _to_gmqtt(properties: dict[str, Any]) -> dict[str, Any]:
    return {_THEIR_NAMES.get(name, name): value for name, value in properties.items() if value not in ([], ())}
