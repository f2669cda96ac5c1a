"""One network connection to a broker, on gmqtt. The only file that touches gmqtt.

gmqtt's codec, keep-alive and id allocation are used as they are. What it does by itself (reconnect, acknowledge,
replay, log) is not: a `Link` lives as long as its connection, and its owner decides. For that four of gmqtt's inner
names are taken over below; a test holds them against the version that is installed.
"""

# ruff: noqa: SLF001 -- the names within gmqtt that this file takes over

import asyncio
import logging
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gmqtt
from gmqtt.mqtt.constants import MQTTCommands, MQTTv50, MQTTv311

from protocols.errors import Disconnected, RemoteProtocolError

_VERSIONS = {"3.1.1": MQTTv311, "5.0": MQTTv50}
_UNSUPPORTED_VERSION = (1, 0x84)

# gmqtt tells of every oddity by log records, tracebacks included. What matters of it reaches the owner as `lost`.
_silent = logging.getLogger("protocols.mqtt.link.gmqtt")
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
    0x9C: "use another server",
    0x9D: "the server has moved",
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

    host: str
    port: int
    client_id: str
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


_OURS = Lost("closed by us", 0)


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
        handler._handle_qos_1_publish_packet = link._acknowledged
        self.on_message = link._unacknowledged
        self.on_subscribe = link._suback
        self.on_unsubscribe = link._unsuback

    async def reconnect(self, delay: bool = False) -> None:
        """gmqtt calls this whenever a connection ends; ours end for good."""


class Link:
    """A connection that is up, made by `connect`. Its owner calls `watch`, `deliver`, and at the end `close`."""

    def __init__(self, address: Address) -> None:
        self.lost: Lost | None = None
        """Why it is over, when it is."""
        self.session_present = False
        self.properties: dict[str, Any] = {}
        """The CONNACK's (5.0)."""
        self._early: list[Arrived] = []
        self._deliver: Callable[[Arrived], None] = self._early.append
        self._tell: Callable[[Lost], None] = _ignore
        self._client = _Client(address, self)
        self._connack: int | None = None
        self._waiting: dict[int, asyncio.Future[Sequence[int]]] = {}
        self._window = asyncio.Semaphore(1)
        self._full = False

    @classmethod
    async def connect(cls, address: Address) -> "Link":
        """Connect and say who we are. Raises Refused, OSError (``ssl.SSLError`` too) or Disconnected."""
        link = cls(address)
        try:
            await link._open(address)
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

    async def _open(self, address: Address) -> None:
        # raise_exc=False: what is wrong is known here, in `_packet`, before gmqtt sees it.
        await self._client.connect(
            address.host,
            address.port,
            ssl=address.tls or False,
            keepalive=address.keepalive,
            version=_VERSIONS[address.version],
            raise_exc=False,
        )
        if self._connack:
            raise Refused("us", self._connack)
        self._alive()
        self._window = asyncio.Semaphore(self._publishes_at_once())
        self.pause()

    def _publishes_at_once(self) -> int:
        """The broker's receive maximum less two: gmqtt draws ids below it, and a SUBSCRIBE needs one as well."""
        return max(1, int(self.properties.get("receive_maximum", 65535)) - 2)

    @property
    def closed_by_us(self) -> bool:
        return self.lost is _OURS

    @property
    def names(self) -> tuple[Any, Any]:
        """The socket's own name and its peer's."""
        transport = self._transport
        return transport.get_extra_info("sockname"), transport.get_extra_info("peername")

    # What its owner asks.

    def acknowledge(self, id: int, reason_code: int = 0) -> None:  # noqa: A002 -- the event's name for it
        if not self._transport.is_closing():
            self._client._send_command_with_mid(MQTTCommands.PUBACK, id, dup=False, reason_code=reason_code)

    async def publish(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: dict[str, Any], timeout: float
    ) -> None:
        """Return when the socket has taken it (QoS 0) or the broker has (QoS 1).

        Raises Refused, or Disconnected, also where there is no answer within ``timeout`` seconds.
        """
        message = gmqtt.Message(topic, payload, qos=qos, retain=retain, **_to_gmqtt(properties))
        if qos:
            async with self._window:
                [code] = await self._ask(lambda: self._connection.publish(message)[0], timeout)
            if code >= 0x80:
                raise Refused(f"a message to {topic!r}", code)
        else:
            self._alive()
            self._connection.publish(message)
            await self._drain(timeout)

    async def subscribe(self, filters: Sequence[tuple[str, int]], timeout: float) -> None:
        """Raises Refused where the broker refuses one of them, or Disconnected."""
        subscriptions = [gmqtt.Subscription(text, qos=qos) for text, qos in filters]
        codes = await self._ask(lambda: self._connection.subscribe(subscriptions), timeout)
        for (text, _), code in zip(filters, codes, strict=False):
            if code >= 0x80:
                raise Refused(f"the subscription {text!r}", code)

    async def unsubscribe(self, filters: Sequence[str], timeout: float) -> None:
        # Bytes, for the same reason as the client id.
        await self._ask(lambda: self._connection.unsubscribe([text.encode() for text in filters]), timeout)

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
            self._end(_OURS)
        self._transport.close()  # what is written leaves first
        await asyncio.wait({self._connection._protocol.closed}, timeout=1.0)
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._end(_OURS)
        connection = self._client._connection
        if connection is not None:
            connection.keepalive = 0
            connection._transport.abort()

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

    async def _ask(self, send: Callable[[], int], timeout: float) -> Sequence[int]:
        """Send a packet and wait for the reason codes that answer its id."""
        self._alive()
        id_ = send()
        answer = self._waiting[id_] = asyncio.get_running_loop().create_future()
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
            # gmqtt would take our not reading for the broker's silence; its pings go on.
            self._connection._last_data_in = float("inf")
        else:
            self._connection._last_data_in = time.monotonic()
            self._transport.resume_reading()

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
                case MQTTCommands.PUBACK:
                    self._answered(struct.unpack("!H", packet[:2])[0], [packet[2] if len(packet) > 2 else 0])
                case MQTTCommands.DISCONNECT if packet:
                    self._end(Lost(f"the broker closed the connection: {_words(packet[0])}", packet[0]))
                case MQTTCommands.DISCONNECT:  # gmqtt makes an empty one of a lost connection
                    self._read_last_words()
                    self._end(Lost("the connection is lost"))
                case _:
                    self._client.decode(command, packet)
        except Exception:  # struct.error, IndexError, UnicodeDecodeError, KeyError, ...
            self.drop("the broker sent a malformed packet")

    def _read_last_words(self) -> None:
        """gmqtt forgets what had arrived together with the end of the connection: perhaps the reason for it."""
        protocol = self._connection._protocol
        data = bytes(protocol._hard_reader._buffer)
        if data[:1] in (b"\x20", b"\xe0"):  # CONNACK, DISCONNECT
            protocol._read_packet(data)

    def _on_connack(self, command: int, packet: bytes) -> None:
        self._connack = packet[1]
        if self._connack:
            self._client._connack_received.set()
        else:
            self.session_present = bool(packet[0] & 1)
            self._client.decode(command, packet)
            self.properties = _from_gmqtt(self._client._package_handler._connack_properties)

    def _acknowledged(self, mid: int, payload: bytes, topic: str, properties: dict[str, Any]) -> None:
        self._arrived(mid, topic, payload, 1, properties)

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
        self._client._package_handler.id_generator.free_id(mid)
        answer = self._waiting.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(codes)


def _ignore(lost: Lost) -> None:
    pass


def _words(code: int) -> str:
    return REASONS.get(code, f"code 0x{code:02X}")


# MQTT 5's own names, where gmqtt has others.
_NAMES = {"payload_format_id": "payload_format_indicator"}
_THEIR_NAMES = {ours: theirs for theirs, ours in _NAMES.items()}
_LISTS = ("user_property", "subscription_identifier")


def _from_gmqtt(properties: dict[str, list[Any]]) -> dict[str, Any]:
    """gmqtt has a list for each property; only those that may occur twice (2.2.2.2) keep it."""
    return {
        _NAMES.get(name, name): values if name in _LISTS else values[0] for name, values in properties.items() if values
    }


def _to_gmqtt(properties: dict[str, Any]) -> dict[str, Any]:
    return {_THEIR_NAMES.get(name, name): value for name, value in properties.items()}
