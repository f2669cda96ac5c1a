"""Names of Channels, with the gateway behind them: a project moves by changing its imports.

``docs/channels.md`` lists what differs.
"""

from gateway.compat.consumer import (
    AcceptConnection,
    AsyncConsumer,
    DenyConnection,
    SyncConsumer,
    database_sync_to_async,
)
from gateway.compat.errors import ChannelFull, InvalidChannelLayerError, MessageTooLarge
from gateway.compat.http import AsyncHttpConsumer
from gateway.compat.layers import DEFAULT_CHANNEL_LAYER, get_channel_layer
from gateway.compat.routers import ChannelNameRouter, ProtocolTypeRouter
from gateway.compat.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from gateway.compat.worker import Worker
from gateway.consumers.base import StopConsumer
from gateway.layers import InMemoryChannelLayer
from gateway.scopes.http.router import URLRouter

__all__ = [
    "DEFAULT_CHANNEL_LAYER",
    "AcceptConnection",
    "AsyncConsumer",
    "AsyncHttpConsumer",
    "AsyncJsonWebsocketConsumer",
    "AsyncWebsocketConsumer",
    "ChannelFull",
    "ChannelNameRouter",
    "DenyConnection",
    "InMemoryChannelLayer",
    "InvalidChannelLayerError",
    "JsonWebsocketConsumer",
    "MessageTooLarge",
    "ProtocolTypeRouter",
    "StopConsumer",
    "SyncConsumer",
    "URLRouter",
    "WebsocketConsumer",
    "Worker",
    "database_sync_to_async",
    "get_channel_layer",
]
