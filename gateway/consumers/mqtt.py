"""Consumers of the mqtt scope: one instance per connection, a device's or ours to a broker."""

import json
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, ClassVar, NoReturn, TypeVar

from gateway.consumers.base import AsyncForm, Consumer, SyncForm
from gateway.consumers.parameters import Extras, extras
from protocols.asgi import describe, wish_of
from protocols.mqtt.topics import valid_name

R = TypeVar("R")
logger = logging.getLogger(__name__)

PAYLOAD_FORMAT_INVALID = 0x99
TAKEN: Mapping[str, Any] = {"type": "mqtt.ack"}


class MqttConnection(Consumer[R]):
    """What all have: a connection begins and ends, and one may publish."""

    def mqtt_connect(self, event: Any) -> Any:
        return self.connect(event)

    def mqtt_disconnect(self, event: Any) -> Any:
        return self.disconnect(event)

    def connect(self, message: Any) -> Any:
        """A device asks to connect, with ``message["username"]`` and ``["password"]`` (bytes), both may be None.
        The default accepts."""
        return self.accept()

    def disconnect(self, message: Any) -> Any:
        """The connection is over: ``reason_code``, ``reason``, ``clean``."""

    def accept(self) -> R:
        return self.perform(self._emit({"type": "mqtt.accept"}))

    def reject(self, reason_code: int = 0x87) -> R:
        """Refuse the connection, with an MQTT 5 reason code (default: not authorized)."""
        return self.perform(self._emit({"type": "mqtt.reject", "reason_code": reason_code}))

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        qos: int = 0,
        retain: bool = False,
        properties: Mapping[str, Any] | None = None,
    ) -> R:
        """Publish to the server's subscribers, or to the broker. Text is UTF-8; ``properties`` are MQTT 5's."""
        data = payload.encode() if isinstance(payload, str) else payload
        event = {"type": "mqtt.send", "topic": topic, "payload": data, "qos": qos, "retain": retain}
        if properties is not None:
            event["properties"] = dict(properties)
        return self.perform(self._emit(event))

    def close(self, reason_code: int = 0) -> R:
        """Close the connection."""
        return self.perform(self._emit({"type": "mqtt.disconnect", "reason_code": reason_code}))


class MqttMethods(MqttConnection[R]):
    """What both forms have; write ``receive``, and ``connect`` where not everyone may."""

    handler: ClassVar[str] = "receive"
    """The method that gets each message."""
    extras: ClassVar[Extras] = Extras()
    """What that method takes beside the topic and the payload."""

    _message: Mapping[str, Any] = {}
    _verdict: Mapping[str, Any] = TAKEN

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.extras = extras(getattr(cls, cls.handler), given=2)

    async def dispatch(self, event: Any) -> None:
        """A message is acknowledged when its handler has returned; one whose handler raised is not."""
        if event["type"] != "mqtt.receive":
            await super().dispatch(event)
            return
        self._message, self._verdict = event, TAKEN
        await self._call(self._handlers["mqtt.receive"], event)
        if event["id"] is not None:
            await self._to_peer({**self._verdict, "id": event["id"]})

    def mqtt_receive(self, event: Any) -> Any:
        if self.extras:
            return self.receive(event["topic"], event["payload"], **self.extras.of(event))
        return self.receive(event["topic"], event["payload"])

    def receive(self, topic: str, payload: bytes, *args: Any, **kwargs: Any) -> Any:
        """One message. At QoS 1 the sender hears that it was taken after this has returned.

        More is passed to a method that names it: ``qos``, ``retain``, ``dup``, ``properties`` (MQTT 5's), and what the
        route's topic captures (``sensors/{sensor}/temperature``: ``sensor``).
        """

    @property
    def answerable(self) -> bool:
        """Whether this message asks for an answer (MQTT 5, 4.10): it names a topic, and one that a device could publish
        to by itself."""
        topic = self._properties.get("response_topic")
        return isinstance(topic, str) and valid_name(topic) and not topic.startswith("$")

    def reply(self, payload: bytes | str, qos: int = 0, retain: bool = False) -> R:
        """Called by ``receive``: publish to the message's ``response_topic``, with its ``correlation_data``. Nothing
        leaves where the message is not :attr:`answerable`."""
        if not self.answerable:
            return self.perform(_nothing())
        properties = {key: self._properties[key] for key in ("correlation_data",) if key in self._properties}
        return self.publish(self._properties["response_topic"], payload, qos, retain, properties)

    @property
    def _properties(self) -> Mapping[str, Any]:
        return self._message.get("properties") or {}

    def defer(self, retry_after: float | None = None) -> None:
        """Called by ``receive``: not now; try this message again after ``retry_after`` seconds, or after the route's
        backoff. For routes with a policy: without one there is nobody who would keep it."""
        self._verdict = not_now(retry_after)

    def refuse(self, reason_code: int = 0x80) -> None:
        """Called by ``receive``: never. The message is acknowledged with an MQTT 5 reason code, and logged."""
        self._verdict = never(reason_code)


class JsonMqttMethods(MqttMethods[R]):
    """Payloads are JSON; write ``receive_json``. A payload that is none is refused, with a line in the log."""

    handler = "receive_json"

    def mqtt_receive(self, event: Any) -> Any:
        topic, payload = event["topic"], event["payload"]
        try:
            content = json.loads(payload, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            logger.warning("%s: refused, no JSON (%s, %d bytes)", describe(self.scope), topic, len(payload))
            self.refuse(PAYLOAD_FORMAT_INVALID)
            return None
        return self.receive_json(topic, content, **self.extras.of(event))

    def receive_json(self, topic: str, content: Any, *args: Any, **kwargs: Any) -> Any:
        """One message; as ``receive``, with what its payload says."""

    def publish_json(
        self,
        topic: str,
        content: Any,
        qos: int = 0,
        retain: bool = False,
        properties: Mapping[str, Any] | None = None,
    ) -> R:
        """As ``publish``, with ``content`` as JSON. Raises TypeError or ValueError where it cannot be."""
        return self.publish(topic, json.dumps(content, allow_nan=False), qos, retain, properties)


def not_now(retry_after: float | None) -> dict[str, Any]:
    """Raises LocalProtocolError where ``retry_after`` is no number."""
    event = {"type": "mqtt.defer"} | ({} if retry_after is None else {"retry_after": retry_after})
    wish_of(event)
    return event


def never(reason_code: int) -> dict[str, Any]:
    return {"type": "mqtt.ack", "reason_code": reason_code}


def _no_constant(name: str) -> NoReturn:
    """Python reads NaN and Infinity; RFC 8259 has no such numbers, and databases no room for them."""
    raise ValueError(name)


async def _nothing() -> None:
    pass


class MqttConsumer(MqttMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncMqttConsumer(MqttMethods[Awaitable[None]], AsyncForm):
    """``async def`` methods; the helpers are awaited."""


class JsonMqttConsumer(JsonMqttMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncJsonMqttConsumer(JsonMqttMethods[Awaitable[None]], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
