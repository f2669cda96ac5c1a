"""Servers that another one carries: webhooks, and MQTT over WebSocket."""

from typing import Any, NamedTuple

WEBSOCKET = "websocket"
"""The setting with which an MQTT server is carried beside a socket of its own."""


class Place(NamedTuple):
    """Where one server is carried by another."""

    on: str
    """The http server's name."""
    path: str
    keys: tuple[str, ...]
    """Where the settings say so."""


def carrier(settings: Any) -> Place | None:
    """The place on an http server that this one has, alone or beside a socket of its own; None where it has none."""
    holders: tuple[tuple[tuple[str, ...], Any], ...] = (
        ((), settings),
        ((WEBSOCKET,), getattr(settings, WEBSOCKET, None)),
    )
    for keys, holder in holders:
        if (on := getattr(holder, "on", None)) is not None:
            return Place(on, f"/{holder.path.lstrip('/')}", keys)
    return None
