"""`gateway send mqtt`: one message, and its acknowledgement."""

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from gateway.scopes.sending import (
    TIMEOUT,
    CannotSend,
    Peer,
    Sent,
    ServerOption,
    WrongArgument,
    dial,
    find,
    refused,
    taken,
)
from protocols.errors import Disconnected
from protocols.mqtt.client.broker_connection import BrokerConnection
from protocols.mqtt.client.connect_options import ConnectOptions
from protocols.mqtt.client.refused import REASONS, Refused
from protocols.mqtt.client.session import ClientSession
from protocols.mqtt.wire.reasons import UNSPECIFIED
from protocols.mqtt.wire.topics import valid_name
from protocols.units import TCP, Unix


@dataclass(frozen=True)
class MQTT:
    """Publishes one message and waits for its acknowledgement."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    version: str = "5.0"
    """The version of MQTT: 5.0 or 3.1.1."""
    username: str | None = None
    password: str | None = None
    server: str | None = None

    def peer(self, servers: Mapping[str, Any]) -> Peer:
        return dial(*find(servers, ("mqtt",), self.server))

    async def send(self, peer: Peer) -> Sent:
        if isinstance(peer.endpoint, Unix):
            raise CannotSend("the MQTT client has no Unix sockets")
        if not valid_name(self.topic):
            raise WrongArgument(f"{self.topic!r} is not a topic to publish to: + and # are for subscribers")
        options = self._options(peer, peer.endpoint)
        try:
            broker = await BrokerConnection.connect(options, ClientSession())
        except Refused as error:
            return refused(f"refused: {_code(error.answer)}")
        broker.deliver(lambda message: None)
        try:
            sent = await self._published(broker)
        finally:
            await broker.close()
        return replace(sent, arrives_as={"event": "mqtt.receive", "who": options.client_id, "what": self.topic})

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
            return refused(f"refused: {_code(error.answer)}")
        except Disconnected:
            code = broker.lost.code if broker.lost else UNSPECIFIED
            why = "" if code == UNSPECIFIED else f": {_code(code)}"
            return refused(f"not acknowledged: the gateway closed the connection{why}")
        return taken("acknowledged" if self.qos else "sent; QoS 0 has no acknowledgement")


def _code(code: Any) -> str:
    """Describe a reason code in words and with its number."""
    return f"{REASONS.get(code, 'for a reason without words here')} (0x{code:02X})"


class _Version(StrEnum):
    OLD = "3.1.1"
    NEW = "5.0"


def mqtt(
    topic: Annotated[str, typer.Argument()],
    payload: Annotated[str, typer.Argument()] = "",
    qos: Annotated[int, typer.Option(min=0, max=2)] = 1,
    retain: Annotated[bool, typer.Option("--retain", help="The server keeps it for later subscribers.")] = False,
    mqtt_version: Annotated[_Version, typer.Option(help="5.0 is told why, where it is refused.")] = _Version.NEW,
    username: Annotated[str | None, typer.Option()] = None,
    password: Annotated[str | None, typer.Option(envvar="MQTT_PASSWORD")] = None,
    server: ServerOption = None,
) -> MQTT:
    """Publish a message and wait until a handler has taken it. With TLS where the server has it.

    Example: gateway send mqtt sensors/1/temperature '{"celsius": 21.5}'
    """
    if username is not None and password is None and sys.stdin.isatty():
        password = typer.prompt(f"Password of {username}", default="", show_default=False, hide_input=True, err=True)
    return MQTT(topic, payload.encode(), qos, retain, mqtt_version.value, username, password, server)
