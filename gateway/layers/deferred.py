"""What a handler sends to a group on a route with ``atomic: true`` leaves after the commit."""

from functools import partial
from typing import Any

from gateway.atomic import in_transaction, once_committed
from gateway.layers import ChannelLayer
from gateway.layers.opened import CheckingLayer


async def group_send(layer: ChannelLayer, group: str, message: dict[str, Any]) -> None:
    """Send ``message`` at once or, in a transaction, after its commit. Then the message is what it is now, and one that
    cannot be sent raises now, at the line that sends it: TypeError, ValueError."""
    if in_transaction():
        message = layer.checked(message) if isinstance(layer, CheckingLayer) else dict(message)
    await once_committed(partial(layer.group_send, group, message))
