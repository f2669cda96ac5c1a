"""Consumers of the mqtt scope. Each connection, of a device to us or of ours to a broker, has an instance."""

import json
import logging
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from gateway.consumers import arguments, message_arguments
from gateway.consumers.base import Asked, Consumer
from gateway.consumers.failure import failed_with
from gateway.consumers.forms import AsyncForm, Awaited, SyncForm
from gateway.consumers.hooks import Call
from gateway.consumers.json_text import parsed
from gateway.consumers.parameters import Extras, extras
from gateway.consumers.refused import in_words
from protocols.asgi import (
    MQTTAuthEvent,
    MQTTConnectEvent,
    MQTTDisconnectEvent,
    MQTTReceiveEvent,
    MQTTScope,
    MQTTSubscribeRequestEvent,
    MQTTUnsubscribeRequestEvent,
    Receive,
    describe,
)
from protocols.errors import Disconnected, LocalProtocolError
from protocols.events import a_type, checked
from protocols.mqtt.events import CHECKS, OF_CONNACK, OF_DISCONNECT
from protocols.mqtt.wire.reasons import (
    BAD_AUTHENTICATION_METHOD,
    FILTER_INVALID,
    NOT_AUTHORIZED,
    PAYLOAD_FORMAT_INVALID,
)
from protocols.mqtt.wire.topics import valid_name

R = TypeVar("R")
logger = logging.getLogger(__name__)

Properties = Mapping[str, Any]
"""MQTT 5's properties, named as in the specification (2.2.2.2) in lower case: ``content_type``, ``user_property``."""
OF_A_CONNECTION = {
    "connect": Call(),
    "disconnect": Call(),
    "subscribe": Call(("filters",)),
    "unsubscribe": Call(("filters",)),
    "authenticate": Call(("data",)),
}
_PUBLISH = "self.publish(topic, payload), or self.reply(payload) to a message with a response topic"
TAKEN: Mapping[str, Any] = {"type": "mqtt.ack"}


def wants_authentication(scope: MQTTScope) -> bool:
    """Whether a device asks for MQTT 5's enhanced authentication (4.12). A message that comes from the store asks for
    none: its device was authenticated when it connected."""
    asks = scope["role"] == "server" and "authentication_method" in scope["properties"]
    return asks and "delivery" not in scope["extensions"]


class MqttConnection(Consumer[R]):
    """The methods of every MQTT consumer: a connection begins and ends, and the consumer may publish."""

    scope: MQTTScope

    asks = {
        "mqtt.connect": Asked("connect", "self.accept() or self.reject()"),
        "mqtt.auth": Asked("authenticate", "self.challenge(), self.accept() or self.reject()"),
    }
    states = {
        "connecting": "the connection is not accepted; call self.accept() first",
        "open": "the connection is accepted already",
        "over": "the connection is closed already",
    }
    instead = asks
    _hooks = OF_A_CONNECTION

    _accepted = False

    @classmethod
    def writes(cls, *names: str) -> list[str]:
        """Return the methods among ``names`` that this class overrides."""
        return [name for name in names if getattr(cls, name) is not getattr(MqttConnection, name)]

    async def _serve(self, receive: Receive) -> None:
        """Serve a connection, or one message that comes from the store: the latter has no connect and no disconnect."""
        if "delivery" not in self.scope["extensions"]:
            await super()._serve(receive)
            return
        self._told = True
        event = await receive()
        if event["type"] == "mqtt.connect":  # middleware in front of this consumer waits for the connection's answer
            await self._emit({"type": "mqtt.accept"})
            event = await receive()
        await self.dispatch(event)

    async def dispatch(self, event: Any) -> None:
        """Call the event's method. A SUBSCRIBE is answered when ``subscribe`` has returned."""
        if event["type"] != "mqtt.subscribe":
            await super().dispatch(event)
            return
        codes = await self._call(self._handlers["mqtt.subscribe"], event)
        try:
            full = _in_full(event, codes)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self.method(event['type'], 'subscribe')}: {error}") from None
        await self._emit({"type": "mqtt.suback", "id": event["id"], "reason_codes": full})

    def asked(self, kind: str) -> Asked:
        return super().asked("mqtt.auth" if wants_authentication(self.scope) else kind)

    def mqtt_connect(self, event: MQTTConnectEvent) -> Any:
        if wants_authentication(self.scope):
            return self.authenticate(self.scope["properties"].get("authentication_data"))
        return self.connect(event)

    def mqtt_auth(self, event: MQTTAuthEvent) -> Any:
        return self.authenticate(event["data"])

    def mqtt_subscribe(self, event: MQTTSubscribeRequestEvent) -> Any:
        return self.subscribe(_valid(event))

    def mqtt_unsubscribe(self, event: MQTTUnsubscribeRequestEvent) -> Any:
        return self.unsubscribe(event["filters"])

    def mqtt_disconnect(self, event: MQTTDisconnectEvent) -> Any:
        return self.disconnect(event)

    def connect(self, message: MQTTConnectEvent) -> Any:
        """A device asks to connect, with ``message["username"]`` and ``["password"]`` (bytes); both may be None.
        The default accepts. It is not called for a message that comes from the store: its device was accepted then."""
        return self.accept()

    def authenticate(self, data: bytes | None) -> Any:
        """This is called instead of ``connect`` for a device that names an ``authentication_method`` (in
        ``self.scope["properties"]``; MQTT 5, 4.12): with its first data, and with the data of each further
        step, also when it authenticates again. Answer with ``challenge``, ``accept`` or ``reject``.

        The default rejects every authentication method.
        """
        return self.reject(BAD_AUTHENTICATION_METHOD)

    def subscribe(self, filters: list[tuple[str, int]]) -> Any:
        """Decide whether the device may subscribe to these (topic filter, QoS) pairs. Return a reason code for each: 0
        to 2 for the QoS that is granted, 0x87 for not authorized. None grants all as requested. What the server's
        ``acl`` denies stays denied.

        Only a class that has this method, or ``unsubscribe``, is asked.
        """

    def unsubscribe(self, filters: list[str]) -> Any:
        """The device has unsubscribed from these topic filters."""

    def disconnect(self, message: MQTTDisconnectEvent) -> Any:
        """The connection is over: ``reason_code``, ``reason``, ``clean``."""

    def accept(self, properties: Properties | None = None) -> R:
        """Accept the connection; ``properties`` go into the CONNACK. A device that authenticates again gets an AUTH."""
        if self._accepted and wants_authentication(self.scope):
            return self._say("accept", "mqtt.auth", properties, reason_code=0)
        self._accepted = True
        asks = {"subscribe": True} if self.writes("subscribe", "unsubscribe") else {}
        return self._say("accept", "mqtt.accept", properties, **asks)

    def reject(self, reason_code: int = NOT_AUTHORIZED, properties: Properties | None = None) -> R:
        """Reject the connection, with an MQTT 5 reason code. To send a device to another server, use 0x9C and
        ``{"server_reference": "other.example.org:1883"}``. A device that is connected already is disconnected."""
        code = _code("reject", reason_code, "0x87 (not authorized)")
        if self._accepted:
            return self._say("reject", "mqtt.disconnect", properties, reason_code=of_disconnect(code))
        return self._say("reject", "mqtt.reject", properties, reason_code=code)

    def challenge(self, data: bytes | str, properties: Properties | None = None) -> R:
        """Ask the device for the next step: it answers ``data``. Call this in ``authenticate``. Text becomes UTF-8."""
        return self._say("challenge", "mqtt.auth", properties, data=arguments.content("challenge", "data", data))

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        *,
        wait: bool = False,
    ) -> R:
        """Publish to the server's subscribers, or to the broker. Text becomes UTF-8; ``properties`` are MQTT 5's.

        If the broker refuses the message, this is logged and your handler goes on. With ``wait``,
        :class:`protocols.NotSent` is raised instead. On a route with a policy nothing leaves before your handler has
        returned, so ``wait`` changes nothing there.
        """
        return self._publish("publish", topic, payload, qos, retain, properties, wait=wait)

    def publish_json(
        self,
        topic: str,
        content: Any,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        *,
        wait: bool = False,
    ) -> R:
        """Publish ``content`` as JSON. Raises TypeError or ValueError if it cannot be written as JSON."""
        payload = json.dumps(content, allow_nan=False)
        return self._publish("publish_json", topic, payload, qos, retain, properties, wait=wait)

    def _publish(
        self,
        helper: str,
        topic: str,
        payload: bytes | str,
        qos: int,
        retain: bool,
        properties: Properties | None,
        *,
        wait: bool,
    ) -> R:
        data = message_arguments.publication(helper, topic, payload, qos, retain, properties)
        event = {"type": "mqtt.send", "topic": topic, "payload": data, "qos": qos, "retain": retain}
        if properties is not None:
            event["properties"] = dict(properties)
        if wait:
            event["wait"] = True
        return self.perform(self._emit(event, helper))

    def close(self, reason_code: int = 0, properties: Properties | None = None) -> R:
        """Close the connection; an MQTT 5 device is told the reason code."""
        code = _code("close", reason_code, "0 (normal)")
        return self._say("close", "mqtt.disconnect", properties, reason_code=code)

    def _say(self, helper: str, type: str, properties: Properties | None, **keys: Any) -> R:
        if properties is not None:
            keys["properties"] = dict(message_arguments.mqtt_properties(helper, properties))
        return self.perform(self._emit({"type": type, **keys}, helper))


def _code(helper: str, given: Any, example: str) -> int:
    return arguments.integer(helper, "reason_code", given, f"the number of an MQTT 5 reason code, such as {example}")


def of_disconnect(reason_code: int) -> int:
    """The code for a DISCONNECT that corresponds to this code of a CONNACK, which has some that DISCONNECT lacks."""
    return NOT_AUTHORIZED if reason_code in OF_CONNACK - OF_DISCONNECT else reason_code


def _valid(event: MQTTSubscribeRequestEvent) -> list[tuple[str, int]]:
    """The valid filters of ``event``. The server refuses the others, whatever the consumer answers."""
    return [(topic_filter, qos) for topic_filter, qos in event["filters"] if topic_filter is not None]


def _in_full(event: MQTTSubscribeRequestEvent, codes: Any) -> list[int]:
    """A code for each filter of ``event``, from the codes for its valid ones. Raises TypeError if they are no list,
    ValueError for a wrong number."""
    if codes is not None and not isinstance(codes, list | tuple):
        raise TypeError(f"it returned {a_type(codes)}; return a list with a reason code for each filter, or None")
    given = iter([qos for _, qos in _valid(event)] if codes is None else codes)
    full = [FILTER_INVALID if topic_filter is None else next(given, None) for topic_filter, _ in event["filters"]]
    if None in full or next(given, None) is not None:
        raise ValueError(f"return a reason code for each of {len(_valid(event))} filters, or None")
    return [code for code in full if code is not None]


class MqttMethods(MqttConnection[R]):
    """The base of both forms: define ``receive``, and ``connect`` if not every device may connect."""

    _hooks = {**OF_A_CONNECTION, "receive": Call(("topic", "payload"), more=True)}

    instead = {**MqttConnection.asks, "mqtt.receive": Asked("receive", _PUBLISH)}
    handler: ClassVar[str] = "receive"
    """The name of the method that gets each message."""
    extras: ClassVar[Extras] = Extras()
    """The parameters of that method beside the topic and the payload."""

    _message: Mapping[str, Any] = {}
    _verdict: Mapping[str, Any] = TAKEN

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.extras = extras(getattr(cls, cls.handler), given=2)

    async def dispatch(self, event: Any) -> None:
        """Call the event's method. A message is acknowledged when its handler has returned, and not if it raises."""
        if event["type"] != "mqtt.receive":
            await super().dispatch(event)
            return
        self._message, self._verdict = event, TAKEN
        try:
            pending = self._begin_call(self._handlers["mqtt.receive"], event)
            result = None if pending is None else await pending
        except Exception as error:
            failed_with(error, event["topic"])
            raise
        if result is not None:
            self._tell_returned(self.scope, "mqtt.receive", result)
        if event["id"] is not None:
            try:
                await self._to_peer({**self._verdict, "id": event["id"]})
            except Disconnected:
                self._left = True
                raise

    def mqtt_receive(self, event: MQTTReceiveEvent) -> Any:
        if self.extras:
            return self.receive(event["topic"], event["payload"], **self.extras.of(event))
        return self.receive(event["topic"], event["payload"])

    def receive(self, topic: str, payload: bytes, *args: Any, **kwargs: Any) -> Any:
        """Handle one message. At QoS 1 and 2 the sender gets its acknowledgement after this has returned.

        Your method can name more parameters: ``qos``, ``retain``, ``dup``, ``properties`` (MQTT 5's), and the captures
        of the route's topic (``sensors/{sensor}/temperature``: ``sensor``).
        """

    @property
    def answerable(self) -> bool:
        """Whether this message asks for an answer (MQTT 5, 4.10): it names a response topic that a device could publish
        to."""
        topic = self._properties.get("response_topic")
        return isinstance(topic, str) and valid_name(topic) and not topic.startswith("$")

    def reply(self, payload: bytes | str, qos: int = 0, retain: bool = False, *, wait: bool = False) -> R:
        """Publish to the message's ``response_topic``, with its ``correlation_data``. Call this in ``receive``. Nothing
        is sent if the message is not :attr:`answerable`. ``wait`` is that of :meth:`publish`."""
        if not self.answerable:
            return self.perform(_nothing())
        properties = {key: self._properties[key] for key in ("correlation_data",) if key in self._properties}
        return self._publish("reply", self._properties["response_topic"], payload, qos, retain, properties, wait=wait)

    @property
    def _properties(self) -> Properties:
        return self._message.get("properties") or {}

    def defer(self, retry_after: float | None = None) -> None:
        """Try this message again after ``retry_after`` seconds, or after the route's backoff. Call this in ``receive``.
        It needs a route with a policy: without one, nothing keeps the message."""
        self._verdict = not_now(self.scope, retry_after)

    def reject_message(self, reason_code: int = 0x80, reason: str = "") -> None:
        """Reject this message: it does not come again. Call this in ``receive``. The message is acknowledged with an
        MQTT 5 reason code, and with ``reason`` for people to read; a 3.1.1 device gets a plain acknowledgement."""
        self._verdict = never("reject_message", reason_code, reason)


class JsonMqttMethods(MqttMethods[R]):
    """Payloads are JSON: define ``receive_json``. A payload that is not JSON is rejected, with a line in the log."""

    _hooks = {**OF_A_CONNECTION, "receive_json": Call(("topic", "content"), more=True)}
    _required = ("receive_json", "mqtt_receive")

    instead = {**MqttConnection.asks, "mqtt.receive": Asked("receive_json", _PUBLISH)}
    handler = "receive_json"

    def mqtt_receive(self, event: MQTTReceiveEvent) -> Any:
        topic, payload = event["topic"], event["payload"]
        try:
            content = parsed(payload)
        except (ValueError, RecursionError):
            logger.warning("%s: rejected, not JSON (%s, %d bytes)", describe(self.scope), topic, len(payload))
            self.reject_message(PAYLOAD_FORMAT_INVALID)
            return None
        return self.receive_json(topic, content, **self.extras.of(event))

    def receive_json(self, topic: str, content: Any, *args: Any, **kwargs: Any) -> Any:
        """Handle one message, as ``receive`` does, with the content of its payload."""


def not_now(scope: MQTTScope | None, retry_after: float | None) -> dict[str, Any]:
    """The event of ``defer``. Raises TypeError if ``retry_after`` is not a number, LocalProtocolError if nothing keeps
    the message."""
    arguments.seconds("defer", "retry_after", retry_after)
    if scope is not None and "delivery" not in scope["extensions"]:
        raise LocalProtocolError("defer: nothing keeps this message; give its route a policy, such as inbox: true")
    return _verdict("defer", {"type": "mqtt.defer", "retry_after": retry_after})


def never(helper: str, reason_code: int, reason: str) -> dict[str, Any]:
    """The event of a rejection. Raises LocalProtocolError if an acknowledgement cannot have this code or reason."""
    _code(helper, reason_code, "0x83; the reason comes after it")
    arguments.text(helper, "reason", reason)
    said = {"properties": {"reason_string": reason}} if reason else {}
    return _verdict(helper, {"type": "mqtt.ack", "reason_code": reason_code, **said})


def _verdict(helper: str, event: dict[str, Any]) -> dict[str, Any]:
    """Check ``event`` while the handler runs: it is sent when the handler has returned."""
    try:
        checked(CHECKS, {**event, "id": 1})
    except LocalProtocolError as error:
        raise in_words(helper, {}, event, error) from None
    return event


async def _nothing() -> None:
    pass


class MqttConsumer(MqttMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncMqttConsumer(MqttMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""


class JsonMqttConsumer(JsonMqttMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncJsonMqttConsumer(JsonMqttMethods[Awaited], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
