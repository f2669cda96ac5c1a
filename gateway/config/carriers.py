"""Servers that another one carries: webhooks, and MQTT over WebSocket."""

from typing import Any, NamedTuple

WEBSOCKET = "websocket"
"""The setting with which an MQTT server is carried beside a socket of its own."""


class Mount(NamedTuple):
    """Where an http server carries another one."""

    on: str
    """The http server's name."""
    path: str
    keys: tuple[str, ...]
    """Where the settings say so."""


def carrier(settings: Any) -> Mount | None:
    """Where an http server carries this one, alone or beside a socket of its own; None if none does."""
    holders: tuple[tuple[tuple[str, ...], Any], ...] = (
        ((), settings),
        ((WEBSOCKET,), getattr(settings, WEBSOCKET, None)),
    )
    for keys, holder in holders:
        if (on := getattr(holder, "on", None)) is not None:
            return Mount(on, f"/{holder.path.lstrip('/')}", keys)
    return None
