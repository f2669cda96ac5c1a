"""How MQTT messages are traced. Trace Context rides in MQTT 5's user properties (W3C, Trace Context: MQTT protocol)."""

from typing import Any, ClassVar

from gateway.spans import Carrier
from gateway.tracing import names
from gateway.tracing.traced import FIELDS, Attributes, Traced, from_pairs, pairs_of
from protocols.events import Event

_PAIRS = "user_property"


class TracedMQTT(Traced):
    """A connection has no span: its messages have. The destination's name is the route's filter and never the topic,
    of which there may be one for each device."""

    carries: ClassVar = True
    is_connection: ClassVar = True
    messages: ClassVar = frozenset({"mqtt.receive"})
    system: ClassVar = "mqtt"

    def attributes(self, operation: str, route: str, scope: Any, event: Any) -> Attributes:
        return {
            **super().attributes(operation, route, scope, event),
            names.BODY_SIZE: len(event["payload"]),
            "messaging.mqtt.qos": event["qos"],
        }

    def route_of(self, here: Any, scope: Any, event: Any) -> str:
        return str(here.route_of({**scope, "topic": event["topic"]}))

    def carrier(self, scope: Any, event: Any) -> Carrier:
        return from_pairs(pairs) if (pairs := event["properties"].get(_PAIRS)) else {}

    def verdict(self, event: Any) -> str:
        if event["type"] == "mqtt.ack":
            return "reject" if event.get("reason_code", 0) >= 0x80 else "accept"
        return super().verdict(event)

    def with_trace(self, event: Event, carrier: Carrier) -> Event:
        """Replace what an application has copied from the message that it answers."""
        properties = event.get("properties") or {}
        others = [pair for pair in properties.get(_PAIRS) or () if pair[0].lower() not in FIELDS]
        return {**event, "properties": {**properties, _PAIRS: [*others, *pairs_of(carrier)]}}
