"""Finds the servers that an http server carries: webhooks, and MQTT over WebSocket."""

from typing import Any, NamedTuple

WEBSOCKET = "websocket"
"""The setting by which an http server carries an MQTT server that has its own socket, too."""


class Mount(NamedTuple):
    """Where an http server carries another one."""

    on: str
    """The http server's name."""
    path: str
    keys: tuple[str, ...]
    """The keys in the settings of the carried server that say this."""


def carrier(settings: Any) -> Mount | None:
    """Return where an http server carries this one; None if none does. The server may have its own socket, too."""
    holders: tuple[tuple[tuple[str, ...], Any], ...] = (
        ((), settings),
        ((WEBSOCKET,), getattr(settings, WEBSOCKET, None)),
    )
    for keys, holder in holders:
        if (on := getattr(holder, "on", None)) is not None:
            return Mount(on, f"/{holder.path.lstrip('/')}", keys)
    return None
