"""Makes the ``mqtt`` scope of a connection, in both roles (docs/asgi/mqtt.md)."""

from typing import Any, Literal

from protocols.asgi import VERSIONS, HostPort, MQTTScope, MQTTWill


def mqtt_scope(
    *,
    role: Literal["server", "client"],
    listener: str,
    client_id: str,
    state: dict[str, Any],
    version: Literal["3.1.1", "5.0"] = "5.0",
    username: str | None = None,
    clean_start: bool = True,
    keepalive: int = 60,
    session_present: bool = False,
    will: MQTTWill | None = None,
    properties: dict[str, Any] | None = None,
    transport: Literal["tcp", "websocket"] = "tcp",
    client: HostPort | None = None,
    server: HostPort | None = None,
    tls: dict[str, Any] | None = None,
) -> MQTTScope:
    """The scope of one connection. It gets a shallow copy of ``state``. ``tls``: ASGI's extension, if there is TLS."""
    return {
        "type": "mqtt",
        "asgi": VERSIONS,
        "listener": listener,
        "client": client,
        "server": server,
        "extensions": {} if tls is None else {"tls": tls},
        "state": state.copy(),
        "role": role,
        "protocol_version": version,
        "client_id": client_id,
        "username": username,
        "clean_start": clean_start,
        "keepalive": keepalive,
        "session_present": session_present,
        "will": will,
        "properties": {} if properties is None else properties,
        "transport": transport,
    }
