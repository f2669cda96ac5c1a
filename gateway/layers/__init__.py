"""Channel layers: groups of channels, across protocols. Optional, and apart from the path of a message.

* :mod:`~gateway.layers.memory`: in this process; :mod:`~gateway.layers.shared`: with a bus to other processes.
* :mod:`~gateway.layers.ipc` and :mod:`~gateway.layers.redis`: such buses. :mod:`~gateway.layers.address` names them.
* :mod:`~gateway.layers.installed`: the gateway's layer as a backend of Channels.

The interface is that of Channels' layers (``send``, ``receive``, ``new_channel``, ``group_add``, ``group_discard``,
``group_send``), so that theirs fit.
"""

from typing import Any, Protocol, runtime_checkable

from gateway.layers.memory import InMemoryChannelLayer
from gateway.layers.opened import OpenedLayer
from gateway.services import Service

__all__ = ["ChannelLayer", "Forgetful", "InMemoryChannelLayer", "OpenedLayer", "get_channel_layer"]


class ChannelLayer(Protocol):
    """What a layer can do. Delivery is at most once: a channel that nobody reads fast enough loses messages."""

    async def new_channel(self, prefix: str = "specific") -> str: ...

    async def send(self, channel: str, message: dict[str, Any]) -> None: ...

    async def receive(self, channel: str) -> dict[str, Any]: ...

    async def group_add(self, group: str, channel: str) -> None: ...

    async def group_discard(self, group: str, channel: str) -> None: ...

    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


@runtime_checkable
class Forgetful(Protocol):
    """A layer that must be told when a channel is no longer read. Those of Channels need not be told, because their
    messages expire."""

    async def forget(self, channel: str) -> None: ...


channel_layer: Service[ChannelLayer] = Service("channel layer", InMemoryChannelLayer())


def get_channel_layer() -> ChannelLayer:
    """The layer of the gateway that runs here: in memory unless its file says otherwise."""
    return channel_layer.get()
