"""Consumers: classes whose instances handle one scope each, sync (on a thread) or async.

``AsyncConsumer`` and ``SyncConsumer`` are raw: one method per event type. The others translate their protocol's events
into methods and helpers; both forms of each share one set of methods, whose helpers do at once, or return an awaitable.
"""

from gateway.consumers.base import AsyncConsumer, Consumer, StopConsumer, SyncConsumer, layer_event
from gateway.consumers.email import AsyncEmailConsumer, EmailConsumer
from gateway.consumers.http import AsyncHttpConsumer, HttpConsumer
from gateway.consumers.mqtt import AsyncJsonMqttConsumer, AsyncMqttConsumer, JsonMqttConsumer, MqttConsumer
from gateway.consumers.mqtt_batch import AsyncMqttBatchConsumer, MqttBatchConsumer, MqttMessage
from gateway.consumers.sms import AsyncSMSConsumer, SMSConsumer
from gateway.consumers.websocket import AsyncWebsocketConsumer, WebsocketConsumer

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
    "JsonMqttConsumer",
    "MqttBatchConsumer",
    "MqttConsumer",
    "MqttMessage",
    "SMSConsumer",
    "StopConsumer",
    "SyncConsumer",
    "WebsocketConsumer",
    "layer_event",
]
