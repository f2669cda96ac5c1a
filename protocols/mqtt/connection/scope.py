"""The scope of a client's connection (docs/asgi/mqtt.md)."""

import asyncio
from typing import Any

from protocols.asgi import MQTTScope
from protocols.mqtt.connection.context import ServerContext
from protocols.mqtt.scope import mqtt_scope
from protocols.mqtt.wire.packets import Connect
from protocols.net.endpoints import describe_tls, host_port

_VERSIONS: dict[int, Any] = {4: "3.1.1", 5: "5.0"}


def scope_of(server: ServerContext, transport: asyncio.Transport, connect: Connect) -> MQTTScope:
    tls = transport.get_extra_info("ssl_object")
    return mqtt_scope(
        role="server",
        listener=server.name,
        client_id=connect.client_id,
        state=server.state,
        version=_VERSIONS[connect.version],
        username=connect.username,
        clean_start=connect.clean,
        keepalive=connect.keepalive,
        session_present=not connect.clean and server.broker.kept(connect.client_id),
        will=connect.will and connect.will.copy(),
        properties=connect.properties,
        transport="websocket" if transport.get_extra_info("websocket") else "tcp",
        client=host_port(transport.get_extra_info("peername")),
        server=host_port(transport.get_extra_info("sockname")),
        tls=describe_tls(tls) if tls is not None else None,
    )
