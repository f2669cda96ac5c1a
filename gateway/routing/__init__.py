"""Routers: each is an ordered list of routes and itself an ASGI application; the first route that matches answers.

``ProtocolTypeRouter`` looks at the scope's type, ``URLRouter`` at the path, ``TopicRouter`` at each message's topic,
``EmailToRouter`` at each recipient, ``SMSFromRouter`` at the sender. Routes are made by ``url``, ``topic``, ``regex``,
``address``, ``domain``, ``phone``, ``country`` and ``default``. What is for one scope type is in its folder of
``gateway.scopes``, and importable from here. Patterns are pure values.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gateway.delivery.current_route import current_route
from gateway.delivery.policy import Policy
from gateway.routing.router import Route, Router, check_answers, default, leaves
from gateway.routing.scope_types import ProtocolTypeRouter
from gateway.routing.targets import as_application, name_of

if TYPE_CHECKING:
    from gateway.scopes.routers import (
        EmailToRouter,
        SMSFromRouter,
        TopicRouter,
        URLRouter,
        address,
        country,
        domain,
        phone,
        regex,
        topic,
        url,
    )

__all__ = [
    "EmailToRouter",
    "Policy",
    "ProtocolTypeRouter",
    "Route",
    "Router",
    "SMSFromRouter",
    "TopicRouter",
    "URLRouter",
    "address",
    "as_application",
    "check_answers",
    "country",
    "current_route",
    "default",
    "domain",
    "leaves",
    "name_of",
    "phone",
    "regex",
    "topic",
    "url",
]


def __getattr__(name: str) -> Any:
    """What is for one scope type is imported when it is asked for: it uses what is here."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("gateway.scopes.routers"), name)
