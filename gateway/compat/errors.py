"""Errors of the layer, by the names that Channels has for them."""

from gateway.layers.bus import LayerUnavailable

ChannelFull = LayerUnavailable
"""A message could not be sent. A full channel does not raise it: it drops its newest messages, and logs a line."""
MessageTooLarge = ValueError
InvalidChannelLayerError = ValueError
"""``CHANNEL_LAYERS`` has no layer of that name."""
