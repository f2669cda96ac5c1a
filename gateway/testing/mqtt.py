"""Tests an application of the ``mqtt`` scope: one connection, of a device to us or of ours to a broker."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar, Literal

from gateway.consumers import message_arguments
from gateway.testing.communicator import TIMEOUT, ApplicationCommunicator
from gateway.testing.outbox import Publication, publication
from gateway.testing.recorded import RecordedRun
from gateway.testing.surroundings import Surroundings
from protocols.asgi import Application, HostPort, MQTTDisconnectEvent, MQTTScope, MQTTWill
from protocols.errors import LocalProtocolError
from protocols.event_id import new_id
from protocols.events import Event, checked
from protocols.mqtt import events
from protocols.mqtt.scope import mqtt_scope

CLIENT: HostPort = ("127.0.0.1", 50001)
SERVER: HostPort = ("127.0.0.1", 1883)


class _Connection(RecordedRun):
    """``waiting``: the ids of messages that the application has not acknowledged."""

    checks: ClassVar = events.CHECKS

    def __init__(self, app: Application, scope: MQTTScope, left: Callable[[Event], None]) -> None:
        super().__init__(app, scope, left)
        self.waiting: set[int] = set()

    def mqtt_ack(self, event: Event) -> None:
        if event["id"] not in self.waiting:
            raise LocalProtocolError(f"mqtt.ack: no message {event['id']} is waiting for it")
        self.waiting.discard(event["id"])
        self.record(event)

    def mqtt_reject(self, event: Event) -> None:
        self.record(event)
        code: int = event["reason_code"]
        self.disconnect(_left(code, clean=False))

    mqtt_disconnect = mqtt_reject
    mqtt_accept = mqtt_auth = mqtt_suback = mqtt_subscribe = mqtt_unsubscribe = RecordedRun.record
    mqtt_send = RecordedRun.leave


class _OfADevice(_Connection):
    sends: ClassVar = events.SERVER


class _ToABroker(_Connection):
    sends: ClassVar = events.CLIENT


class MqttCommunicator(ApplicationCommunicator):
    """One connection. With ``role="client"`` it is ours to a broker, and what the test publishes comes from there."""

    def __init__(
        self,
        application: Any,
        client_id: str = "device-1",
        *,
        username: str | None = None,
        password: str | bytes | None = None,
        role: Literal["server", "client"] = "server",
        version: Literal["3.1.1", "5.0"] = "5.0",
        clean_start: bool = True,
        session_present: bool = False,
        keepalive: int = 60,
        will: MQTTWill | None = None,
        properties: dict[str, Any] | None = None,
        listener: str = "mqtt",
        surroundings: Surroundings | None = None,
    ) -> None:
        """``listener`` is the server's name in gateway.yaml."""
        self.run_class = _OfADevice if role == "server" else _ToABroker
        self.password = password.encode() if isinstance(password, str) else password
        scope = mqtt_scope(
            role=role,
            listener=listener,
            client_id=client_id,
            state={},
            version=version,
            username=username,
            clean_start=clean_start,
            keepalive=keepalive,
            session_present=session_present,
            will=will,
            properties=properties,
            client=CLIENT,
            server=SERVER,
        )
        super().__init__(application, {**scope}, surroundings=surroundings)
        self._ids = count(1)
        self._asks = False

    async def connect(self, timeout: float = TIMEOUT) -> tuple[bool, int]:
        """Connect. Returns whether the application accepts, and the reason code: 0 if it does."""
        await self.send_input({"type": "mqtt.connect", "username": self.scope["username"], "password": self.password})
        answer = await self._next("mqtt.accept", "mqtt.reject", timeout=timeout)
        self._asks = bool(answer.get("subscribe"))
        return answer["type"] == "mqtt.accept", answer.get("reason_code", 0)

    async def publish(
        self,
        topic: str,
        payload: str | bytes = b"",
        qos: int = 1,
        retain: bool = False,
        *,
        properties: dict[str, Any] | None = None,
        timeout: float = TIMEOUT,
    ) -> int:
        """Publish a message, and wait for its acknowledgement. Returns the reason code: 0, or what the application
        rejects it with. At QoS 0 there is no acknowledgement, and this returns at once."""
        id_ = await self.send_message(topic, payload, qos, retain, properties=properties)
        return 0 if id_ is None else await self.receive_ack(id_, timeout)

    async def publish_json(self, topic: str, content: Any, qos: int = 1, *, timeout: float = TIMEOUT) -> int:
        """Publish ``content`` as JSON, as :meth:`publish` does."""
        return await self.publish(topic, json.dumps(content, allow_nan=False), qos, timeout=timeout)

    async def send_message(
        self,
        topic: str,
        payload: str | bytes = b"",
        qos: int = 1,
        retain: bool = False,
        *,
        dup: bool = False,
        properties: dict[str, Any] | None = None,
    ) -> int | None:
        """Publish a message without waiting. Returns its id, for :meth:`receive_ack`; None at QoS 0. Raises what a
        publication of yours would for what no device can send."""
        data = message_arguments.publication("publish", topic, payload, qos, retain, properties)
        checked(events.CHECKS, events.publication(topic, data, qos, retain, properties))
        id_ = next(self._ids) if qos else None
        run = self._begun()
        if id_ is not None and isinstance(run, _Connection):
            run.waiting.add(id_)
        keys = {"topic": topic, "payload": data, "qos": qos, "retain": retain, "dup": dup, "id": id_}
        if qos == 2 and self.scope["role"] == "server":
            keys["event"] = new_id()
        await self.send_input({"type": "mqtt.receive", **keys, "properties": properties or {}})
        return id_

    async def receive_ack(self, id: int, timeout: float = TIMEOUT) -> int:
        """Wait for the acknowledgement of a message, and return its reason code."""
        event = await self._first(
            lambda each: each["type"] == "mqtt.ack" and each["id"] == id,
            timeout,
            f"the application did not acknowledge message {id}",
        )
        return int(event.get("reason_code", 0))

    async def receive_message(self, timeout: float = TIMEOUT) -> Publication:
        """Return the next message that the application publishes."""
        return publication(await self._next("mqtt.send", timeout=timeout))

    async def receive_json_from(self, timeout: float = TIMEOUT) -> Any:
        """Return the content of the next message that the application publishes, which is JSON."""
        return json.loads((await self.receive_message(timeout)).payload)

    async def subscribe(self, *filters: str, qos: int = 0, timeout: float = TIMEOUT) -> list[int]:
        """Subscribe as the device. Returns a reason code for each filter. An application that does not ask for
        subscriptions is not told, and they are granted."""
        asked = [(each, qos) for each in filters]
        if not self._asks:
            return [qos for _ in asked]
        id_ = next(self._ids)
        await self.send_input({"type": "mqtt.subscribe", "id": id_, "filters": asked, "properties": {}})
        answer = await self._first(
            lambda each: each["type"] == "mqtt.suback" and each["id"] == id_,
            timeout,
            "the application did not answer the subscription",
        )
        return list(answer["reason_codes"])

    async def disconnect(
        self, reason_code: int = 0, *, clean: bool = True, reason: str = "", timeout: float = TIMEOUT
    ) -> None:
        """Disconnect, and wait until the application has ended. Raises what it has crashed with."""
        await self._leave(_left(reason_code, reason, clean=clean), timeout)

    def _farewell(self) -> Event | None:
        return _left()


def _left(reason_code: int = 0, reason: str = "", *, clean: bool = True) -> MQTTDisconnectEvent:
    return {"type": "mqtt.disconnect", "reason_code": reason_code, "reason": reason, "clean": clean}
