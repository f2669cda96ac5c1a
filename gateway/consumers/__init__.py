"""Consumers: classes whose instances handle one scope each, sync (on a thread) or async.

``AsyncConsumer`` and ``SyncConsumer`` are raw: they have one method for each event type. The others translate the
events of their protocol into methods and helpers. Both forms share one set of methods; the helpers act at once in the
sync form, and return an awaitable in the async form.
"""

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from gateway.consumers.base import Consumer as Consumer
    from gateway.consumers.base import StopConsumer as StopConsumer
    from gateway.consumers.base import layer_event as layer_event
    from gateway.consumers.email import AsyncEmailConsumer as AsyncEmailConsumer
    from gateway.consumers.email import EmailConsumer as EmailConsumer
    from gateway.consumers.http import AsyncHttpConsumer as AsyncHttpConsumer
    from gateway.consumers.http import HttpConsumer as HttpConsumer
    from gateway.consumers.mqtt import AsyncJsonMqttConsumer as AsyncJsonMqttConsumer
    from gateway.consumers.mqtt import AsyncMqttConsumer as AsyncMqttConsumer
    from gateway.consumers.mqtt import JsonMqttConsumer as JsonMqttConsumer
    from gateway.consumers.mqtt import MqttConsumer as MqttConsumer
    from gateway.consumers.mqtt_batch import AsyncMqttBatchConsumer as AsyncMqttBatchConsumer
    from gateway.consumers.mqtt_batch import MqttBatchConsumer as MqttBatchConsumer
    from gateway.consumers.mqtt_batch import MqttMessage as MqttMessage
    from gateway.consumers.raw import AsyncConsumer as AsyncConsumer
    from gateway.consumers.raw import SyncConsumer as SyncConsumer
    from gateway.consumers.sms import AsyncSMSConsumer as AsyncSMSConsumer
    from gateway.consumers.sms import SMSConsumer as SMSConsumer
    from gateway.consumers.websocket import AsyncJsonWebsocketConsumer as AsyncJsonWebsocketConsumer
    from gateway.consumers.websocket import AsyncWebsocketConsumer as AsyncWebsocketConsumer
    from gateway.consumers.websocket import JsonWebsocketConsumer as JsonWebsocketConsumer
    from gateway.consumers.websocket import WebsocketConsumer as WebsocketConsumer
    from protocols.mail.compose.reply_token import ReplyToken as ReplyToken
    from protocols.mail.message import InboundEmail as InboundEmail
else:
    __all__, __getattr__ = lazy_names(
        __name__,
        {
            "gateway.consumers.base": ("Consumer", "StopConsumer", "layer_event"),
            "gateway.consumers.email": ("AsyncEmailConsumer", "EmailConsumer"),
            "gateway.consumers.http": ("AsyncHttpConsumer", "HttpConsumer"),
            "gateway.consumers.mqtt": (
                "AsyncJsonMqttConsumer",
                "AsyncMqttConsumer",
                "JsonMqttConsumer",
                "MqttConsumer",
            ),
            "gateway.consumers.mqtt_batch": ("AsyncMqttBatchConsumer", "MqttBatchConsumer", "MqttMessage"),
            "gateway.consumers.raw": ("AsyncConsumer", "SyncConsumer"),
            "gateway.consumers.sms": ("AsyncSMSConsumer", "SMSConsumer"),
            "gateway.consumers.websocket": (
                "AsyncJsonWebsocketConsumer",
                "AsyncWebsocketConsumer",
                "JsonWebsocketConsumer",
                "WebsocketConsumer",
            ),
            "protocols.mail.compose.reply_token": ("ReplyToken",),
            "protocols.mail.message": ("InboundEmail",),
        },
    )
