"""Raw consumers: one method for each event type, which sends raw events."""

from typing import Any

from gateway.consumers.base import Asked
from gateway.consumers.forms import AsyncForm, SyncForm
from gateway.consumers.received import METHODS, method_name

RAW = {
    kind: Asked(method_name(kind), f'self.send({{"type": {answer}}})')
    for kind, answer in {
        "http.request": '"http.response.start", ...',
        "websocket.connect": '"websocket.accept"',
        "mqtt.connect": '"mqtt.accept"',
        "mqtt.receive": '"mqtt.ack", "id": event["id"]',
        "mqtt.subscribe": '"mqtt.suback", "id": event["id"], ...',
        "mqtt.auth": '"mqtt.auth", ...',
    }.items()
}
"""What raw consumers are asked for. Mail and texts are accepted when their methods return."""


class AsyncConsumer(AsyncForm):
    """Raw events, one ``async`` method per event type (``websocket_receive`` for ``websocket.receive``)."""

    asks = instead = RAW
    _required = METHODS

    async def send(self, event: Any) -> None:
        """Send one raw event to the peer."""
        await self._emit(event)


class SyncConsumer(SyncForm):
    """Raw events, one method per event type, called on a thread."""

    asks = instead = RAW
    _required = METHODS

    def send(self, event: Any) -> None:
        """Send one raw event to the peer, and wait until it is on its way."""
        self.perform(self._emit(event))
