"""Protocol servers for any ASGI application: HTTP and WebSocket, MQTT, SMTP/LMTP, IMAP, SMS webhooks.

The primitives, from the socket to the application:

``net.listener``  opens sockets; no other code does
``net.acceptor``  takes accepted sockets to a server: limits, the PROXY header (``net.proxy``), TLS (``net.tls``)
``server``        what every server is from outside: started, ready, drained, stopped
``app_run``       one run of an application over one scope: order, backpressure, legal sends, disconnect, crash
``asgi``          the scopes and events as types; mqtt, email and sms are specified in ``docs/asgi/``
``events``        which event an application may send when, and what makes it valid
``lifespan``      an application's startup and shutdown
``errors``        mistakes of the application (local) and of the peer (remote)
``units``, ``secret``   how settings are written
``tasks``         owns background tasks

Each protocol has a package of its own, and a server here::

    async with MQTTServer(app, MQTTSettings(bind="127.0.0.1:1883")):
        await forever()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from protocols.errors import (
    AccountRefused,
    BindError,
    Disconnected,
    LocalProtocolError,
    NotSent,
    PermanentFailure,
    RemoteProtocolError,
)
from protocols.net.listener import TLS
from protocols.secret import Secret
from protocols.server import Server, ServerStatus

if TYPE_CHECKING:
    from protocols.http.server import HTTPServer, HTTPSettings
    from protocols.mail.imap.reader import IMAPReader
    from protocols.mail.imap.settings import IMAPSettings
    from protocols.mail.smtp.server import SMTPServer
    from protocols.mail.smtp.settings import SMTPSettings
    from protocols.mail.submission import SubmissionSettings, open_submission
    from protocols.mqtt.client.client import MQTTClient, MQTTClientSettings
    from protocols.mqtt.server import MQTTServer
    from protocols.mqtt.settings import MQTTSettings
    from protocols.sms import GenericSettings, SMSWebhook, TwilioSettings

_HOMES = {
    "HTTPServer": "http.server",
    "HTTPSettings": "http.settings",
    "IMAPReader": "mail.imap.reader",
    "IMAPSettings": "mail.imap.settings",
    "SMTPServer": "mail.smtp.server",
    "SMTPSettings": "mail.smtp.settings",
    "SubmissionSettings": "mail.submission",
    "open_submission": "mail.submission",
    "MQTTClient": "mqtt.client.client",
    "MQTTClientSettings": "mqtt.client.client",
    "MQTTServer": "mqtt.server",
    "MQTTSettings": "mqtt.settings",
    "GenericSettings": "sms",
    "SMSWebhook": "sms",
    "TwilioSettings": "sms",
}

__all__ = [
    "TLS",
    "AccountRefused",
    "BindError",
    "Disconnected",
    "GenericSettings",
    "HTTPServer",
    "HTTPSettings",
    "IMAPReader",
    "IMAPSettings",
    "LocalProtocolError",
    "MQTTClient",
    "MQTTClientSettings",
    "MQTTServer",
    "MQTTSettings",
    "NotSent",
    "PermanentFailure",
    "RemoteProtocolError",
    "SMSWebhook",
    "SMTPServer",
    "SMTPSettings",
    "Secret",
    "Server",
    "ServerStatus",
    "SubmissionSettings",
    "TwilioSettings",
    "open_submission",
]


def __getattr__(name: str) -> Any:
    """Import a server's module when it is asked for: a program that serves MQTT needs neither aiohttp nor aiosmtpd."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
