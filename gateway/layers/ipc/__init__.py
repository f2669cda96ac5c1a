"""The layer between the processes of one machine, over a Unix socket.

* :mod:`~gateway.layers.ipc.frames`: what is on the socket.
* :mod:`~gateway.layers.ipc.relay`: takes each message to the processes that have subscribed.
* :mod:`~gateway.layers.ipc.place`: where the socket is, and who relays.
* :mod:`~gateway.layers.ipc.bus`: one process's side.
"""

from pathlib import Path

from gateway.layers.ipc.bus import IpcBus
from gateway.layers.ipc.relay import Relay
from gateway.layers.shared import SharedChannelLayer

__all__ = ["IpcBus", "Relay", "ipc_layer"]


def ipc_layer(path: Path, *, relays: bool = True) -> SharedChannelLayer:
    """Return the layer whose socket is at ``path``. With ``relays``, this process relays for all if no other does."""
    return SharedChannelLayer(IpcBus(path, relays=relays))
