"""The channel layer: in memory, or one of ours to other processes. Those of Channels have no figures."""

from collections.abc import AsyncIterator

from gateway.layers import InMemoryChannelLayer, channel_layer
from gateway.layers.shared import SharedChannelLayer
from gateway.metrics.family import Sample, counter, gauge
from gateway.metrics.reader import Reader
from gateway.runtime.build import Gateway

CHANNELS = gauge("gateway_layer_channels", "Channels of the layer.")
GROUPS = gauge(
    "gateway_layer_groups", "Groups that have a member. One with members in several workers counts in each of them."
)
UNREAD = gauge("gateway_layer_unread_messages", "Unread messages in these channels.")
DROPPED = counter(
    "gateway_layer_messages_dropped_total",
    "Messages that were dropped: to a full channel (capacity), unread for too long (expiry), to a process that reads "
    "too slowly (relay), to a channel without a reader (unread), to a full queue in Redis (full), or unreadable "
    "(garbage).",
    "reason",
)
MISSED = counter(
    "gateway_layer_messages_missed_total",
    "Messages of other processes that have not arrived, by the numbers on the messages after them.",
)
CONNECTED = gauge(
    "gateway_layer_connected", "1 while the layer reaches other processes, 0 while it is cut off.", joined="min"
)
INTERRUPTIONS = counter("gateway_layer_interruptions_total", "Times that the layer was cut off from other processes.")


async def read(gateway: Gateway) -> AsyncIterator[Sample]:
    layer = gateway.services[channel_layer]
    if isinstance(layer, InMemoryChannelLayer):
        yield CHANNELS.sample(layer.channels)
        yield GROUPS.sample(layer.groups)
        yield UNREAD.sample(layer.unread)
        for reason, count in layer.dropped_by_reason().items():
            yield DROPPED.sample(count, reason)
    if isinstance(layer, SharedChannelLayer):
        yield MISSED.sample(layer.gaps.missed)
        yield CONNECTED.sample(float(not layer.trouble))
        yield INTERRUPTIONS.sample(layer.bus.state.interruptions)


READER = Reader(
    "channel layer",
    (CHANNELS, GROUPS, UNREAD, DROPPED, MISSED, CONNECTED, INTERRUPTIONS),
    read,
    of="process",  # a successor has the same layer
)
