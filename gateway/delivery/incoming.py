"""A message that has come to a route with a policy, and whose sender waits for the answer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.delivery.kind import DeliveryKind
from gateway.delivery.policy import Policy
from gateway.delivery.service import deliveries
from gateway.store import Claim, Message, codec
from protocols.asgi import Application


@dataclass(frozen=True, slots=True, eq=False)
class Incoming:
    """The message, and the route that takes it."""

    kind: DeliveryKind
    app: Application
    policy: Policy
    label: str
    scope: Any
    events: Sequence[Any]
    id: str
    """The event id, if no earlier delivery of the message had another."""

    def message(self, claim: Claim | None = None) -> Message:
        """As the store keeps it: under ``claim``, where one was made before it is stored."""
        id_ = self.id if claim is None else claim.id
        return Message(
            id=id_,
            type=self.kind.name,
            route=self.label,
            key=self.kind.order_key(self.scope, self.events) if self.policy.order == "key" else id_,
            received=time.time() if claim is None else claim.received,
            content=codec.encode(deliveries.get().routes.noted(self.scope), self.events),
            attempts=0 if claim is None else claim.attempts,
            subject=self.kind.subject(self.scope, self.events),
        )
