"""The events that consumers have methods for, what the methods are called, and which events are the last of a scope."""

from collections.abc import Mapping
from typing import Any

RECEIVED = (
    "http.request",
    "http.disconnect",
    "websocket.connect",
    "websocket.receive",
    "websocket.disconnect",
    "mqtt.connect",
    "mqtt.receive",
    "mqtt.subscribe",
    "mqtt.unsubscribe",
    "mqtt.auth",
    "mqtt.disconnect",
    "email.receive",
    "email.disconnect",
    "sms.receive",
    "sms.status",
    "sms.disconnect",
    "task.receive",
    "task.disconnect",
)
"""The event types that a method may be named after. A name from outside is never looked up."""


def method_name(event_type: str) -> str:
    """Return the name of the method for events of this type."""
    return event_type.replace(".", "_")


METHODS = tuple(map(method_name, RECEIVED))
"""The names of those methods."""
DISCONNECTS: Mapping[str, Any] = {
    "http.disconnect": {"type": "http.disconnect"},
    "websocket.disconnect": {"type": "websocket.disconnect", "code": 1011, "reason": ""},
    "mqtt.disconnect": {
        "type": "mqtt.disconnect",
        "reason_code": 0x80,
        "reason": "the application has ended",
        "clean": False,
    },
    "email.disconnect": {"type": "email.disconnect"},
    "sms.disconnect": {"type": "sms.disconnect"},
    "task.disconnect": {"type": "task.disconnect"},
}
"""The last event of each scope, as a server sends it when it closes after a crash."""
WHOLE = {
    "email.receive": "email.disconnect",
    "sms.receive": "sms.disconnect",
    "sms.status": "sms.disconnect",
    "task.receive": "task.disconnect",
}
"""An event that is a whole message is the last one of its scope for a class without a method for its disconnect."""


def last_event_of(scope: Any) -> Any:
    """Return the last event of ``scope``, as a server sends it when it closes after a crash."""
    kind = f"{scope['type']}.disconnect"
    return DISCONNECTS.get(kind, {"type": kind})
