"""The routes that keep their messages, by label: the route that was found at arrival is not searched again at
delivery."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.delivery.policy import Policy
from protocols.asgi import Application

_NOTED = "delivery"
"""The extension of a stored scope that tells which tree has routed the message. At delivery it has other keys."""


class KeptRoute(NamedTuple):
    """A route with a policy."""

    app: Application
    policy: Policy


@dataclass(frozen=True)
class RouteTable:
    """The routes with a policy of one tree of routers, by the label that a message is stored with.

    A message names its route and the tree that it was routed by. Where today's tree is another one (the file has
    changed, and an operator may have let a dead letter be tried again), the message is routed anew.
    """

    signature: str = ""
    """A text that is the same for all trees that route in the same way. Empty: every message is routed anew."""
    routes: Mapping[tuple[str, str], KeptRoute] = field(default_factory=dict)
    """The routes by scope type and label."""

    def noted(self, scope: Any) -> Any:
        """``scope`` as it is stored."""
        if not self.signature:
            return scope
        return {**scope, "extensions": {**scope["extensions"], _NOTED: {"routes": self.signature}}}

    def find(self, scope: Any, label: str) -> KeptRoute | None:
        """The route that took a stored message. None: it is to be routed anew."""
        routed_by = scope["extensions"].get(_NOTED, {}).get("routes", "")
        return self.routes.get((scope["type"], label)) if routed_by == self.signature != "" else None
