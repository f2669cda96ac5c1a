"""What all routers share: an ordered list of routes, itself an ASGI application; the first route that matches answers.

``ProtocolTypeRouter`` looks at the scope's type. The routers of one scope type are in its folder of ``gateway.scopes``;
all of them are importable from ``gateway``. Patterns are pure values.
"""

from gateway.delivery.current_route import current_route
from gateway.delivery.policy import Policy
from gateway.routing.router import Route, Router, check_answers, default, leaves, takes
from gateway.routing.scope_types import ProtocolTypeRouter
from gateway.routing.targets import as_application, name_of

__all__ = [
    "Policy",
    "ProtocolTypeRouter",
    "Route",
    "Router",
    "as_application",
    "check_answers",
    "current_route",
    "default",
    "leaves",
    "name_of",
    "takes",
]
