"""The delivery of a message from the store, for the routers and guards that its scope passes through."""

from contextvars import ContextVar
from dataclasses import dataclass

from gateway.delivery.atomic_part import AtomicPart
from gateway.delivery.policy import Policy


@dataclass
class DeliveryContext:
    """One delivery. The guard of the route that takes the message sets ``policy``."""

    attempt: int
    part: AtomicPart | None = None
    """The message's part in a transaction. None if its route is known and is not atomic."""
    policy: Policy | None = None
    """None: no route with a policy has taken it."""

    @property
    def is_committed(self) -> bool:
        """Whether the store has everything that came of the attempt."""
        return self.part is not None and self.part.is_committed


current_delivery: ContextVar[DeliveryContext | None] = ContextVar("current_delivery", default=None)
"""Set by the worker around each delivery; the same object in every task below it."""
