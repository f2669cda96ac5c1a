"""The mqtt scope as one object."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from gateway.delivery.policy import Policy
from gateway.recording.replay_run import ReplayRun
from gateway.routing.patterns import Pattern
from gateway.routing.router import Route
from gateway.scopes.kind import Loc, Running, ScopeKind
from gateway.scopes.mqtt.arrivals import MQTTWatch
from gateway.scopes.mqtt.delivery import MQTTDelivery
from gateway.scopes.mqtt.patterns import Topic, topic
from gateway.scopes.mqtt.publications import publications
from gateway.scopes.mqtt.router import TopicRouter
from gateway.scopes.reachable import is_reachable
from gateway.scopes.routes import WITH_POLICY, Target
from gateway.scopes.server_kind import ServerKind
from protocols.access.users import PasswordFile
from protocols.asgi import Application
from protocols.events import Event
from protocols.mqtt.client.settings import MQTTClientSettings
from protocols.mqtt.events import CHECKS, CLIENT, SERVER
from protocols.mqtt.settings import MQTTSettings
from protocols.mqtt.wire.topics import valid_name
from protocols.units import parse_address

_SERVER = ServerKind(MQTTSettings, "protocols.mqtt.server:MQTTServer")


class _BrokerClient(ServerKind):
    def identity(self, settings: MQTTClientSettings, name: str) -> str:
        """With its client id, unless two clients would get the same messages: several hosts may share a subscription,
        each as a client of its own."""
        if any(not text.startswith("$share/") for text in settings.subscribe):
            return name
        return f"{name} {settings.client_id_of(name)}"


_CLIENT = _BrokerClient(
    MQTTClientSettings,
    "protocols.mqtt.client.client:MQTTClient",
    renamed=(("inbox", "max_unacked"),),
)

_OTHER_WILDCARDS = re.compile(r"\*|^\^|(?!^)\$|\\|\.\+")
"""What stands for several characters or for a place elsewhere, and in MQTT for itself."""


@dataclass(frozen=True, kw_only=True)
class TopicRoute(Policy):
    """A route of the mqtt scope."""

    __pydantic_config__: ClassVar[Any] = WITH_POLICY

    app: Target
    """What answers: `module.attribute` or `module:attribute`."""
    topic: str | None = None
    """An MQTT topic filter, with `+` for one level and `#` for the rest; `{sensor}` is one level too, and reaches the
    handler under that name."""


class _ReplayOfDevice(ReplayRun):
    sends: ClassVar = SERVER
    checks: ClassVar = CHECKS


class _ReplayOfBroker(ReplayRun):
    sends: ClassVar = CLIENT
    checks: ClassVar = CHECKS


class MQTTKind(ScopeKind):
    name: ClassVar = "mqtt"
    traced: ClassVar = "gateway.scopes.mqtt.tracing:TracedMQTT"
    watch: ClassVar = MQTTWatch
    is_connection = True
    results: ClassVar = ("accepted", "rejected", "unanswered", "failed")
    words: ClassVar = "MQTT connections, by topic."
    delivery: ClassVar = MQTTDelivery()
    servers: ClassVar = (_SERVER, _CLIENT)
    route: ClassVar = TopicRoute
    router: ClassVar = TopicRouter
    everything: ClassVar = 'topic: "#"'
    without_routes: ClassVar = "a broker without handlers"
    refusal: ClassVar = ({"type": "mqtt.reject", "reason_code": 0x87},)
    not_protocols: ClassVar = {"mqtts": "mqtt, with tls: {certificate: ..., key: ...}"}
    example: ClassVar = "mqtt:a/topic"
    aliases: ClassVar = ("topic",)
    bare: ClassVar = "[^/:]+/[^:]*"
    send: ClassVar = "gateway.scopes.mqtt.send:mqtt"

    def mistakes(self, servers: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
        for name, settings in servers.items():
            if settings.protocol in _SERVER.protocols:
                yield from _open_websocket(name, settings, servers)
                yield from _password_file(name, settings)

    def make_route(self, key: str, value: Any, target: Any, policy: Policy) -> Route:
        return topic(value, target, policy)

    def doubts(self, line: Any) -> Iterator[tuple[str, str]]:
        if line.topic is not None and _OTHER_WILDCARDS.search(line.topic):
            yield "topic", f"'{line.topic}' is no regular expression: + stands for one level, # at the end for the rest"

    def subject(self, text: str) -> dict[str, Any]:
        if not valid_name(text):
            raise ValueError(f"{text!r} is not a topic: + and # are for subscribers; write {self.example}")
        return {"topic": text, "client_id": ""}

    def captures(self, pattern: Pattern, scope: Mapping[str, Any]) -> dict[str, str] | None:
        found = pattern.match(scope["topic"]) if isinstance(pattern, Topic) else None
        return found.kwargs if found else None

    def records(self, arrival: Any) -> bool:
        """Messages alone are kept: passwords are left out, so that no connection could be made again."""
        return bool(arrival.event == "mqtt.receive")

    def replayed(self, app: Application, scope: Any, events: Sequence[Any]) -> ReplayRun:
        connect = {"type": "mqtt.connect", "username": scope["username"], "password": None}
        left = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}
        run = _ReplayOfDevice if scope["role"] == "server" else _ReplayOfBroker
        ends = _is_answer if any(event["id"] is not None for event in events) else None
        return run(app, scope, [connect, *events], ends=ends, disconnect=left)

    def suggestions(self, running: Sequence[Running], routes: Sequence[Route], command: str) -> Iterator[str]:
        first = next((each.settings for each in running if each.settings.protocol in _SERVER.protocols), None)
        if first is not None and is_reachable(first, unix=False):
            for what in islice(publications(first, routes), 1):
                yield f"{command} send mqtt {what}"

    async def transmit(self, server: Any, event: Event) -> None:
        await server.publish(event)


def _is_answer(event: Event) -> bool:
    return event["type"] in ("mqtt.ack", "mqtt.reject", "mqtt.disconnect")


def _open_websocket(name: str, settings: MQTTSettings, servers: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    """A server that only this machine reaches is reached by everybody through an http server that is."""
    on = settings.websocket.on if settings.websocket is not None else ""
    web = servers.get(on)
    if web is not None and hasattr(web, "tls") and settings.lets_anybody(web.bind, web.tls):
        message = (
            f"servers.{name}: websocket: servers.{on} on {parse_address(web.bind)} lets anybody connect: say "
            "users, password_file, or anonymous: true where the application itself decides"
        )
        yield ("servers", name, "websocket"), message


def _password_file(name: str, settings: MQTTSettings) -> Iterator[tuple[Loc, str]]:
    try:
        if settings.password_file is not None:
            PasswordFile(settings.password_file, name)
    except ValueError as error:
        yield ("servers", name, "password_file"), f"servers.{name}: {error}"
