"""How MQTT messages are kept, handled from the store, and sent."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import ClassVar

from gateway.consumers.mqtt import MqttConnection
from gateway.delivery.attempt import Attempt
from gateway.delivery.deduplication import DAY
from gateway.delivery.kind import DeliveryKind
from gateway.delivery.policy import Policy
from gateway.scopes.mqtt.inbox import InboxConnection
from protocols.app_run import log_crash
from protocols.asgi import Application, MQTTDisconnectEvent, MQTTReceiveEvent, MQTTScope, Scope, describe
from protocols.errors import LocalProtocolError
from protocols.events import Event
from protocols.mqtt import events

_DISCONNECT: MQTTDisconnectEvent = {"type": "mqtt.disconnect", "reason_code": 0, "reason": "", "clean": True}
_ID = 1
"""What the message is acknowledged by."""


class MQTTAttempt(Attempt):
    """A consumer of ours gets the message and nothing else. Any other application sees a connection that brings this
    one message: the specification of the scope has a beginning and an end.

    The message has an ``id`` here whatever its QoS was, since the store waits for the acknowledgement, which is the end
    of the attempt.
    """

    sends: ClassVar = events.STORED
    checks: ClassVar = events.CHECKS
    is_whole: ClassVar = False

    def __init__(self, app: Application, scope: MQTTScope, events: Iterable[MQTTReceiveEvent]) -> None:
        super().__init__(app, scope, [{**event, "id": _ID} for event in events])
        self._acknowledged = False
        consumer = getattr(app, "consumer_class", None)
        self._is_connection = not (isinstance(consumer, type) and issubclass(consumer, MqttConnection))
        if not self._is_connection:
            self._goto("open")
        else:
            self._own_queue().appendleft({"type": "mqtt.connect", "username": scope["username"], "password": None})

    def failed_with(self) -> BaseException | None:
        if self._acknowledged:
            return None
        nothing = RuntimeError("it ended without acknowledging the message")
        return nothing if self.error is None else self.error

    def _crashed(self, error: BaseException) -> None:
        """Log a crash after the acknowledgement, as on a connection. It changes nothing for the message."""
        if self._acknowledged:
            log_crash(self.scope, error, self.server_name)
        super()._crashed(error)

    def mqtt_accept(self, event: Event) -> None:
        pass

    def mqtt_reject(self, event: Event) -> None:
        self.disconnect(_DISCONNECT)

    mqtt_disconnect = mqtt_reject

    def mqtt_ack(self, event: Event) -> None:
        """Take the message, or reject it for good if the reason code is one of an error (MQTT 5, from 0x80)."""
        self._answered(event)
        if event.get("reason_code", 0) >= 0x80:
            self.decide({"type": "mqtt.reject"})

    def mqtt_defer(self, event: Event) -> None:
        self._answered(event)
        self.decide(event)

    def _answered(self, event: Event) -> None:
        if event["id"] != _ID or self._acknowledged:
            raise LocalProtocolError(f"{event['type']}: no message {event['id']} is waiting for it")
        self._acknowledged = True
        if self._is_connection:
            asyncio.get_running_loop().call_soon(self.disconnect, _DISCONNECT)

    mqtt_send = Attempt.leave


class MQTTDelivery(DeliveryKind):
    """A scope is a connection, which brings many messages."""

    name: ClassVar = "mqtt"
    keep: ClassVar = 5 * DAY
    keep_words: ClassVar = "Publications to a broker."
    checks: ClassVar = events.CHECKS
    content: ClassVar = frozenset({"payload", "will"})
    raw: ClassVar = {"mqtt.receive": lambda event: event["payload"], "mqtt.send": lambda event: event["payload"]}

    def check(self, policy: Policy) -> None:
        if policy.on_error == "refuse":
            raise ValueError("on_error: refuse is not possible: the device has its acknowledgement by then")

    def live(self, app: Application, label: str, policy: Policy) -> Application:
        """MQTT has no word for "not now" (3.1.1 has none for "never" either): every policy means the inbox."""
        return InboxConnection(self, app, label, policy).serve

    def stores(self, policy: Policy) -> bool:
        return True

    def order_key(self, scope: MQTTScope, events: Sequence[MQTTReceiveEvent]) -> str:
        """A topic's messages stay in order."""
        return f"mqtt:{events[0]['topic']}"

    def subject(self, scope: Scope, events: Sequence[MQTTReceiveEvent]) -> str:
        return f"{describe(scope)} {events[0]['topic']}"

    def attempt(self, app: Application, scope: MQTTScope, events: Sequence[MQTTReceiveEvent]) -> MQTTAttempt:
        return MQTTAttempt(app, scope, events)

    def recipient(self, event: Event) -> str:
        return str(event.get("topic") or "")
