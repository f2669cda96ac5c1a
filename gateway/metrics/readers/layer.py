"""The channel layer in memory. One of Channels, such as that on Redis, has figures of its own."""

from collections.abc import AsyncIterator

from gateway.layers import InMemoryChannelLayer, channel_layer
from gateway.metrics.family import Sample, counter, gauge
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

CHANNELS = gauge("gateway_layer_channels", "Channels of the layer in memory.")
UNREAD = gauge("gateway_layer_unread_messages", "Unread messages in these channels.")
DROPPED = counter(
    "gateway_layer_messages_dropped_total", "Messages to channels whose readers were too slow, which were dropped."
)


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    layer = gateway.services[channel_layer]
    if isinstance(layer, InMemoryChannelLayer):
        yield CHANNELS.sample(layer.channels)
        yield UNREAD.sample(layer.unread)
        yield DROPPED.sample(layer.dropped)


READER = Reader("channel layer", (CHANNELS, UNREAD, DROPPED), read, of="process")  # a successor has the same layer
