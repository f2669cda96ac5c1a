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

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from protocols.errors import AccountRefused as AccountRefused
    from protocols.errors import BindError as BindError
    from protocols.errors import Disconnected as Disconnected
    from protocols.errors import LocalProtocolError as LocalProtocolError
    from protocols.errors import NotSent as NotSent
    from protocols.errors import PermanentFailure as PermanentFailure
    from protocols.errors import RemoteProtocolError as RemoteProtocolError
    from protocols.http.server import HTTPServer as HTTPServer
    from protocols.http.server import HTTPSettings as HTTPSettings
    from protocols.mail.imap.reader import IMAPReader as IMAPReader
    from protocols.mail.imap.settings import IMAPSettings as IMAPSettings
    from protocols.mail.smtp.server import SMTPServer as SMTPServer
    from protocols.mail.smtp.settings import SMTPSettings as SMTPSettings
    from protocols.mail.submission import SubmissionSettings as SubmissionSettings
    from protocols.mail.submission import open_submission as open_submission
    from protocols.mqtt.client.client import MQTTClient as MQTTClient
    from protocols.mqtt.client.client import MQTTClientSettings as MQTTClientSettings
    from protocols.mqtt.server import MQTTServer as MQTTServer
    from protocols.mqtt.settings import MQTTSettings as MQTTSettings
    from protocols.net.tls import TLS as TLS
    from protocols.secret import Secret as Secret
    from protocols.server import Server as Server
    from protocols.server import ServerStatus as ServerStatus
    from protocols.sms import GenericSettings as GenericSettings
    from protocols.sms import SMSWebhook as SMSWebhook
    from protocols.sms import TwilioSettings as TwilioSettings
else:
    __all__, __getattr__ = lazy_names(
        __name__,
        {
            "protocols.errors": (
                "AccountRefused",
                "BindError",
                "Disconnected",
                "LocalProtocolError",
                "NotSent",
                "PermanentFailure",
                "RemoteProtocolError",
            ),
            "protocols.http.server": ("HTTPServer", "HTTPSettings"),
            "protocols.mail.imap.reader": ("IMAPReader",),
            "protocols.mail.imap.settings": ("IMAPSettings",),
            "protocols.mail.smtp.server": ("SMTPServer",),
            "protocols.mail.smtp.settings": ("SMTPSettings",),
            "protocols.mail.submission": ("SubmissionSettings", "open_submission"),
            "protocols.mqtt.client.client": ("MQTTClient", "MQTTClientSettings"),
            "protocols.mqtt.server": ("MQTTServer",),
            "protocols.mqtt.settings": ("MQTTSettings",),
            "protocols.net.tls": ("TLS",),
            "protocols.secret": ("Secret",),
            "protocols.server": ("Server", "ServerStatus"),
            "protocols.sms": ("GenericSettings", "SMSWebhook", "TwilioSettings"),
        },
    )
