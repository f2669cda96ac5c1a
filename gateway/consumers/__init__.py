"""Consumers: classes whose instances handle one scope each, sync (on a thread) or async.

``AsyncConsumer`` and ``SyncConsumer`` are raw: they have one method for each event type. The others translate the
events of their protocol into methods and helpers. Both forms share one set of methods; the helpers act at once in the
sync form, and return an awaitable in the async form.
"""

from gateway.consumers.base import AsyncConsumer, Consumer, StopConsumer, SyncConsumer, layer_event
from gateway.consumers.email import AsyncEmailConsumer, EmailConsumer
from gateway.consumers.http import AsyncHttpConsumer, HttpConsumer
from gateway.consumers.mqtt import AsyncJsonMqttConsumer, AsyncMqttConsumer, JsonMqttConsumer, MqttConsumer
from gateway.consumers.mqtt_batch import AsyncMqttBatchConsumer, MqttBatchConsumer, MqttMessage
from gateway.consumers.sms import AsyncSMSConsumer, SMSConsumer
from gateway.consumers.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from protocols.mail.compose.reply_token import ReplyToken
from protocols.mail.message import InboundEmail

__all__ = [
    "AsyncConsumer",
    "AsyncEmailConsumer",
    "AsyncHttpConsumer",
    "AsyncJsonMqttConsumer",
    "AsyncMqttBatchConsumer",
    "AsyncMqttConsumer",
    "AsyncSMSConsumer",
    "AsyncWebsocketConsumer",
    "Consumer",
    "EmailConsumer",
    "HttpConsumer",
    "InboundEmail",
    "JsonMqttConsumer",
    "MqttBatchConsumer",
    "MqttConsumer",
    "MqttMessage",
    "ReplyToken",
    "SMSConsumer",
    "StopConsumer",
    "SyncConsumer",
    "WebsocketConsumer",
    "layer_event",
]
