"""Enhanced authentication: AUTH packets between client and application, while it connects and after (4.12). Pure."""

from collections.abc import Mapping
from typing import Any

from protocols.errors import LocalProtocolError
from protocols.mqtt.broker.outgoing import Outgoing
from protocols.mqtt.connection.answer import encoded, without_problems
from protocols.mqtt.connection.errors import broken
from protocols.mqtt.wire import packets, reasons
from protocols.mqtt.wire.packets import Auth


class Authentication:
    """Authenticates by the ``method`` that the client named in CONNECT, or by none."""

    __slots__ = ("_method", "_outgoing", "_problems")

    def __init__(self, outgoing: Outgoing, method: str | None, *, problems: bool) -> None:
        self._outgoing = outgoing
        self._method = method
        self._problems = problems

    def ask(self, event: Mapping[str, Any]) -> None:
        """``mqtt.auth``: the application's step. Raises LocalProtocolError."""
        if self._method is None:
            raise LocalProtocolError("mqtt.auth: the client has named no authentication method [MQTT-4.12.0-6]")
        properties = {"authentication_method": self._method} | dict(event.get("properties") or {})
        if event.get("data") is not None:
            properties["authentication_data"] = event["data"]
        if not self._problems:  # the client wants no reason strings (3.1.2.11.7)
            properties = without_problems(properties)
        code = event.get("reason_code", reasons.CONTINUE_AUTHENTICATION)
        self._outgoing.write(encoded(self._outgoing, packets.auth, code, properties=properties))

    def heard(self, packet: Auth) -> dict[str, Any]:
        """The client's step, for the application. Raises RemoteProtocolError."""
        if self._method is None or packet.properties.get("authentication_method") != self._method:
            raise broken("AUTH of another authentication method [MQTT-4.12.0-5]")
        data = packet.properties.get("authentication_data")
        return {"type": "mqtt.auth", "reason_code": packet.code, "data": data, "properties": packet.properties}
