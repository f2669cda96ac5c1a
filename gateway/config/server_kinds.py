"""The classes that serve each protocol, and which servers another one carries."""

from importlib import import_module
from typing import Any, NamedTuple

from protocols.server import Server

_CLASSES = {
    "http": ("protocols.http.server", "HTTPServer"),
    "mqtt": ("protocols.mqtt.server", "MQTTServer"),
    "mqtt-client": ("protocols.mqtt.client.client", "MQTTClient"),
    "smtp": ("protocols.mail.smtp.server", "SMTPServer"),
    "lmtp": ("protocols.mail.smtp.server", "SMTPServer"),
    "imap": ("protocols.mail.imap.reader", "IMAPReader"),
    "sms": ("protocols.sms.webhook", "SMSWebhook"),
}
"""Imported when one is configured: their libraries are not all light."""


def server_class(protocol: str) -> type[Server]:
    """The class that serves ``protocol``. Raises KeyError where there is none."""
    module, name = _CLASSES[protocol]
    found: type[Server] = getattr(import_module(module), name)
    return found


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
        (("websocket",), getattr(settings, "websocket", None)),
    )
    for keys, holder in holders:
        if (on := getattr(holder, "on", None)) is not None:
            return Place(on, f"/{holder.path.lstrip('/')}", keys)
    return None
