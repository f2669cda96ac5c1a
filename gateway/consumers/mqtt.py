"""Consumers of the mqtt scope: one instance per connection, a device's or ours to a broker."""

from collections.abc import Awaitable
from typing import Any, TypeVar

from gateway.consumers.base import AsyncForm, Consumer, SyncForm

R = TypeVar("R")


class MqttMethods(Consumer[R]):
    """What both forms have; write ``receive``, and ``connect`` where not everyone may."""

    _verdict: dict[str, Any] | None = None

    async def dispatch(self, event: Any) -> None:
        """A message is acknowledged when its handler has returned; one whose handler raised is not."""
        await super().dispatch(event)
        if event["type"] == "mqtt.receive" and event["id"] is not None:
            verdict, self._verdict = self._verdict or {"type": "mqtt.ack"}, None
            await self._to_peer({**verdict, "id": event["id"]})

    def mqtt_connect(self, event: Any) -> Any:
        return self.connect(event)

    def mqtt_receive(self, event: Any) -> Any:
        return self.receive(event["topic"], event["payload"])

    def mqtt_disconnect(self, event: Any) -> Any:
        return self.disconnect(event)

    def connect(self, message: Any) -> Any:
        """A device asks to connect, with ``message["username"]`` and ``["password"]`` (bytes), both may be None.
        The default accepts."""
        return self.accept()

    def receive(self, topic: str, payload: bytes) -> Any:
        """One message. At QoS 1 the sender hears that it was taken after this has returned."""

    def disconnect(self, message: Any) -> Any:
        """The connection is over: ``reason_code``, ``reason``, ``clean``."""

    def accept(self) -> R:
        return self.perform(self._emit({"type": "mqtt.accept"}))

    def reject(self, reason_code: int = 0x87) -> R:
        """Refuse the connection, with an MQTT 5 reason code (default: not authorized)."""
        return self.perform(self._emit({"type": "mqtt.reject", "reason_code": reason_code}))

    def publish(self, topic: str, payload: bytes | str, qos: int = 0, retain: bool = False) -> R:
        """Publish to the server's subscribers, or to the broker. Text is UTF-8."""
        data = payload.encode() if isinstance(payload, str) else payload
        event = {"type": "mqtt.send", "topic": topic, "payload": data, "qos": qos, "retain": retain}
        return self.perform(self._emit(event))

    def defer(self, retry_after: float | None = None) -> None:
        """Called by ``receive``: not now; try this message again after ``retry_after`` seconds, or after the route's
        backoff. For routes with a policy: without one there is nobody who would keep it."""
        self._verdict = {"type": "mqtt.defer"} | ({} if retry_after is None else {"retry_after": retry_after})

    def refuse(self, reason_code: int = 0x80) -> None:
        """Called by ``receive``: never. The message is acknowledged with an MQTT 5 reason code, and logged."""
        self._verdict = {"type": "mqtt.ack", "reason_code": reason_code}

    def close(self, reason_code: int = 0) -> R:
        """Close the connection."""
        return self.perform(self._emit({"type": "mqtt.disconnect", "reason_code": reason_code}))


class MqttConsumer(MqttMethods[None], SyncForm):
    """Plain methods, called on a thread."""


class AsyncMqttConsumer(MqttMethods[Awaitable[None]], AsyncForm):
    """``async def`` methods; the helpers are awaited."""
