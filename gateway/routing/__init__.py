"""Routers: each is an ordered list of routes and itself an ASGI application; the first route that matches answers.

``ProtocolTypeRouter`` looks at the scope's type, ``URLRouter`` at the path, ``TopicRouter`` at each message's topic,
``EmailToRouter`` at each recipient, ``SMSFromRouter`` at the sender. Routes are made by ``url``, ``topic``, ``regex``,
``address``, ``domain``, ``phone``, ``country`` and ``default``. Patterns are pure values in ``patterns.py``.
"""

from gateway.delivery.current_route import current_route
from gateway.delivery.policy import Policy
from gateway.routing.paths import URLRouter
from gateway.routing.recipients import EmailToRouter
from gateway.routing.router import (
    Route,
    Router,
    address,
    check_answers,
    country,
    default,
    domain,
    leaves,
    phone,
    regex,
    topic,
    url,
)
from gateway.routing.scope_types import ProtocolTypeRouter
from gateway.routing.senders import SMSFromRouter
from gateway.routing.targets import as_application, name_of
from gateway.routing.topics import TopicRouter

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
