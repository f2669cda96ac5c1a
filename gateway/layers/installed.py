"""The gateway's layer as a backend of Channels, so that its consumers and ours share their groups::

CHANNEL_LAYERS = {"default": {"BACKEND": "gateway.layers.installed.GatewayChannelLayer"}}
"""

from typing import Any

from gateway.event_sender import outside_services, runs_here, sender
from gateway.layers import ChannelLayer, get_channel_layer
from gateway.layers.bus import LayerUnavailable


class GatewayChannelLayer:
    """In a gateway's process its layer; in another one that of the gateway's file."""

    extensions = ("groups",)
    MessageTooLarge = ValueError
    ChannelFull = LayerUnavailable

    def __init__(self, **config: Any) -> None:
        """Raises TypeError for a CONFIG: the gateway's file says how the layer is."""
        if config:
            raise TypeError(f"the gateway's file says how the layer is; take {', '.join(config)} out of CONFIG")

    async def new_channel(self, prefix: str = "specific") -> str:
        return await _layer().new_channel(prefix)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await _layer().send(channel, message)

    async def receive(self, channel: str) -> dict[str, Any]:
        return await _layer().receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        await _layer().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await _layer().group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await _layer().group_send(group, message)


def _layer() -> ChannelLayer:
    return get_channel_layer() if runs_here() else outside_services()[sender].layer()
