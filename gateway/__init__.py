"""The gateway: routers, consumers and channel layers. Everything public is importable from here.

``gateway.routing`` says which application answers a scope, ``gateway.consumers`` are the classes that handle one,
``gateway.layers`` connects them across protocols; ``gateway.runtime.build`` makes it all from one file, and
``gateway.runtime.daemon`` runs it.

A module is imported when you ask for one of its names, so that a consumer of HTTP needs nothing of mail.
"""

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from gateway import aio as aio
    from gateway.consumers import *
    from gateway.layers import *
    from gateway.routing import *
    from gateway.scopes.http.static_files import *
    from gateway.scopes.routers import *
    from gateway.sending import *
else:
    __all__, __getattr__ = lazy_names(
        __name__,
        {
            "gateway.aio": ("aio",),
            "gateway.consumers": (
                "AsyncConsumer",
                "AsyncEmailConsumer",
                "AsyncHttpConsumer",
                "AsyncJsonMqttConsumer",
                "AsyncJsonWebsocketConsumer",
                "AsyncMqttBatchConsumer",
                "AsyncMqttConsumer",
                "AsyncSMSConsumer",
                "AsyncWebsocketConsumer",
                "Consumer",
                "EmailConsumer",
                "HttpConsumer",
                "InboundEmail",
                "JsonMqttConsumer",
                "JsonWebsocketConsumer",
                "MqttBatchConsumer",
                "MqttConsumer",
                "MqttMessage",
                "ReplyToken",
                "SMSConsumer",
                "StopConsumer",
                "SyncConsumer",
                "WebsocketConsumer",
                "layer_event",
            ),
            "gateway.layers": ("ChannelLayer", "Forgetful", "InMemoryChannelLayer", "get_channel_layer"),
            "gateway.routing": (
                "Policy",
                "ProtocolTypeRouter",
                "Route",
                "Router",
                "as_application",
                "check_answers",
                "current_route",
                "default",
                "leaves",
                "name_of",
            ),
            "gateway.scopes.http.static_files": ("StaticFiles",),
            "gateway.scopes.routers": (
                "EmailFromRouter",
                "EmailToRouter",
                "SMSFromRouter",
                "SMSToRouter",
                "TopicRouter",
                "URLRouter",
                "address",
                "country",
                "domain",
                "keyword",
                "phone",
                "recipient",
                "regex",
                "relay",
                "sender",
                "shortcode",
                "topic",
                "url",
            ),
            "gateway.sending": ("group_send", "publish", "send_mail", "send_text"),
        },
    )

__version__ = "0.1.0"
