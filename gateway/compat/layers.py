"""The layers of a project by their aliases."""

from gateway.layers import ChannelLayer
from gateway.layers import get_channel_layer as own_layer
from protocols.lazy_names import imported

DEFAULT_CHANNEL_LAYER = "default"


def get_channel_layer(alias: str = DEFAULT_CHANNEL_LAYER) -> ChannelLayer:
    """Return the gateway's layer, or for another ``alias`` the one that ``CHANNEL_LAYERS`` of Django's settings has.
    Raises ValueError if it has none."""
    if alias == DEFAULT_CHANNEL_LAYER:
        return own_layer()
    layer: ChannelLayer = imported("gateway.django.channel_layers:layer_of")(alias)
    return layer
