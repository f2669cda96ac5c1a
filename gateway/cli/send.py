"""``gateway send``: real clients that talk to the running gateway, one for each protocol."""

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid
from typing import Any, Protocol

import aiohttp
import aiosmtplib

from gateway.cli.find_server import CannotSend, Peer, dial, find
from protocols.errors import Disconnected
from protocols.mqtt.client.broker_connection import BrokerConnection
from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.refused import REASONS, Refused
from protocols.mqtt.client.session import ClientSession
from protocols.mqtt.wire.reasons import UNSPECIFIED
from protocols.mqtt.wire.topics import valid_name
from protocols.sms import TextMessage, provider_for
from protocols.units import TCP, Unix

TIMEOUT = 30.0
"""Seconds that a server may take to answer; handlers run within that."""


class Sender(Protocol):
    """One message, and how it goes."""

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        """To which server. Raises CannotSend."""

    async def send(self, peer: Peer) -> "Sent": ...


@dataclass(frozen=True)
class Sent:
    """What came of it: whether the gateway took it, one line about that, and what it answered."""

    taken: bool
    summary: str
    answer: str = ""


def _taken(summary: str, answer: str = "") -> Sent:
    return Sent(taken=True, summary=summary, answer=answer)


def _refused(summary: str) -> Sent:
    return Sent(taken=False, summary=summary)


async def send(sender: Sender, servers: Mapping[str, Any]) -> Sent:
    """Send. Raises CannotSend with one sentence where nobody answers."""
    peer = sender.peer(servers)
    place = f"servers.{peer.name} at {peer.endpoint}"
    try:
        async with asyncio.timeout(TIMEOUT):
            return await sender.send(peer)
    except TimeoutError as error:
        raise CannotSend(f"{place}: no answer within {TIMEOUT:g} s") from error
    except (aiohttp.ClientError, aiosmtplib.SMTPException, OSError) as error:
        raise CannotSend(f"{place}: {_reason(error)}; is the gateway running?") from error
    except ValueError as error:  # a client's own opinion of what it was given
        raise CannotSend(str(error)) from error


def _reason(error: Exception) -> str:
    """What the system says, without what each library writes around it."""
    cause = getattr(error, "os_error", None) or error.__cause__ or error
    found = re.search(r"\[Errno (\d+)\]", str(cause))  # asyncio makes one error of several, where a name has addresses
    number = getattr(cause, "errno", None) or (int(found[1]) if found else 0)
    return os.strerror(number) if number > 0 else str(error) or type(error).__name__


@dataclass(frozen=True)
class MQTT:
    """Publishes one message and waits for its acknowledgement."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    version: str = "5.0"
    """Or 3.1.1."""
    username: str | None = None
    password: str | None = None
    server: str | None = None

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        return dial(*find(servers, ("mqtt",), self.server))

    async def send(self, peer: Peer) -> Sent:
        if isinstance(peer.endpoint, Unix):
            raise CannotSend("the MQTT client has no Unix sockets")
        if not valid_name(self.topic):
            raise CannotSend(f"{self.topic!r} is no topic to publish to: + and # are for subscribers")
        try:
            broker = await BrokerConnection.connect(self._options(peer, peer.endpoint), ClientSession())
        except Refused as error:
            return _refused(f"refused: {_code(error.answer)}")
        broker.deliver(lambda message: None)
        try:
            return await self._published(broker)
        finally:
            await broker.close()

    def _options(self, peer: Peer, place: TCP) -> ConnectOptions:
        return ConnectOptions(
            f"mqtt://{place}",
            place.host,
            place.port,
            f"gateway-send-{secrets.token_hex(4)}",
            username=self.username,
            password=self.password,
            tls=peer.tls,
            version=self.version,
            clean_start=True,
            timeout=TIMEOUT,
        )

    async def _published(self, broker: BrokerConnection) -> Sent:
        try:
            await broker.publish(self.topic, self.payload, self.qos, self.retain, {})
        except Refused as error:
            return _refused(f"refused: {_code(error.answer)}")
        except Disconnected:
            code = broker.lost.code if broker.lost else UNSPECIFIED
            why = "" if code == UNSPECIFIED else f": {_code(code)}"
            return _refused(f"not acknowledged: the gateway closed the connection{why}")
        return _taken("acknowledged" if self.qos else "sent; QoS 0 has no acknowledgement")


def _code(code: Any) -> str:
    """In words, with MQTT's number for them."""
    return f"{REASONS.get(code, 'for a reason without words here')} (0x{code:02X})"


@dataclass(frozen=True)
class Email:
    """Delivers one message, as another mail server would."""

    recipient: str
    text: str
    sender: str = "ann@example.net"
    subject: str = "Hello"
    server: str | None = None

    def message(self) -> EmailMessage:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, self.recipient, self.subject
        message["Date"], message["Message-ID"] = format_datetime(localtime()), make_msgid(domain="gateway.invalid")
        message.set_content(self.text)
        return message

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        return dial(*find(servers, ("smtp",), self.server))

    async def send(self, peer: Peer) -> Sent:
        message = self.message()
        async with aiosmtplib.SMTP(**_smtp_address(peer)) as session:
            try:
                _, answer = await session.send_message(message, sender=self.sender, recipients=[self.recipient])
            except aiosmtplib.SMTPRecipientsRefused as error:
                refusal = error.recipients[0]
                return _refused(f"{refusal.code} {refusal.message}")
            except aiosmtplib.SMTPResponseException as error:
                return _refused(f"{error.code} {error.message}")
        return _taken(f"250 {answer}")


def _smtp_address(peer: Peer) -> dict[str, Any]:
    options: dict[str, Any] = {"timeout": TIMEOUT, "start_tls": False, "validate_certs": False}
    if peer.tls:
        options |= {"use_tls": peer.settings.implicit_tls, "start_tls": None}
    if isinstance(peer.endpoint, Unix):
        return options | {"socket_path": peer.endpoint.path}
    return options | {"hostname": peer.endpoint.host, "port": peer.endpoint.port}


@dataclass(frozen=True)
class SMS:
    """Posts one text to the webhook, signed as its provider signs."""

    sender: str
    text: str
    recipient: str = "+15005550006"
    server: str | None = None

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        _, settings = find(servers, ("sms",), self.server)
        return replace(dial(settings.on, servers[settings.on]), carried=settings)

    async def send(self, peer: Peer) -> Sent:
        settings = peer.carried
        url = _url(peer, f"/{settings.path.lstrip('/')}")
        message = TextMessage(self.sender, self.recipient, f"gateway-send-{secrets.token_hex(8)}", self.text)
        request = provider_for(settings).sign(getattr(settings, "public_url", None) or url, message)
        async with _session(peer) as session:
            return await _answer(session.request(request.method, url, data=request.body, headers=request.headers))


@dataclass(frozen=True)
class HTTP:
    """Makes one request."""

    path: str
    method: str = "GET"
    body: bytes = b""
    server: str | None = None

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        return dial(*find(servers, ("http",), self.server))

    async def send(self, peer: Peer) -> Sent:
        async with _session(peer) as session:
            return await _answer(session.request(self.method, _url(peer, self.path), data=self.body or None))


async def _answer(request: Any) -> Sent:
    async with request as response:
        text = await response.text(errors="replace")
        return Sent(response.status < 400, f"{response.status} {response.reason}", text)


@dataclass(frozen=True)
class WebSocket:
    """Connects, sends texts, and hears until the gateway has been silent for ``quiet`` seconds."""

    path: str
    texts: Sequence[str] = ()
    quiet: float = 1.0
    server: str | None = None

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        return dial(*find(servers, ("http",), self.server))

    async def send(self, peer: Peer) -> Sent:
        async with _session(peer) as session:
            try:
                async with session.ws_connect(_url(peer, self.path)) as socket:
                    for text in self.texts:
                        await socket.send_str(text)
                    return _taken("connected", "\n".join([text async for text in self._heard(socket)]))
            except aiohttp.WSServerHandshakeError as error:
                return _refused(f"refused: {error.status} {error.message}")

    async def _heard(self, socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[str]:
        with contextlib.suppress(TimeoutError):
            while True:
                message = await socket.receive(timeout=self.quiet)
                if message.type is aiohttp.WSMsgType.TEXT:
                    yield message.data
                elif message.type is aiohttp.WSMsgType.BINARY:
                    yield repr(message.data)
                else:
                    yield f"(closed: {socket.close_code})"
                    return


def _session(peer: Peer) -> aiohttp.ClientSession:
    if isinstance(peer.endpoint, Unix):
        return aiohttp.ClientSession(connector=aiohttp.UnixConnector(peer.endpoint.path))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=peer.tls or False))


def _url(peer: Peer, path: str) -> str:
    scheme = "https" if peer.tls else "http"
    place = peer.endpoint if isinstance(peer.endpoint, TCP) else "localhost"
    return f"{scheme}://{place}/{path.lstrip('/')}"
