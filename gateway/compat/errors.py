"""Errors of the layer, by the names that Channels has for them."""

from gateway.layers.bus import LayerUnavailable

ChannelFull = LayerUnavailable
"""A message could not be sent. A full channel is no error here: its newest messages are dropped, with a log line."""
MessageTooLarge = ValueError
InvalidChannelLayerError = ValueError
"""``CHANNEL_LAYERS`` has no layer of that name."""
