"""The observer of what becomes of messages under a policy, and of what leaves by the outbox."""

from collections.abc import Sequence
from typing import Any, Protocol

from gateway.store import Message, Outgoing


class DeliveryObserver(Protocol):
    """Its methods never raise."""

    def failed(self, error: BaseException) -> None:
        """The handler has failed of a message whose sender waits, in this context. Its policy answers the sender."""

    def delivered(
        self,
        message: Message,
        scope: Any,
        events: Sequence[Any],
        verdict: str,
        error: BaseException | None,
        began: float,
    ) -> None:
        """An attempt at a stored message has ended, which began at ``began`` (monotonic)."""

    def left(self, item: Outgoing, verdict: str, error: BaseException | None, began: float) -> None:
        """An attempt to send an outgoing item has ended."""
