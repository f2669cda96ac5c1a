"""Delivers over the gateway's store, if it has one, on a route that has no policy."""

from dataclasses import replace

from gateway.delivery.delivery_context import current_delivery
from gateway.delivery.guard import Guard
from gateway.delivery.service import deliveries
from gateway.routing.router import PLAIN, Route


def has_store() -> bool:
    """Whether a delivery that begins here may be kept in the store."""
    if current_delivery.get() is not None:  # it comes from the store, and is settled there as a whole
        return False
    try:
        deliveries.get()
    except LookupError:
        return False
    return True


def stored(route: Route) -> Route:
    """The route as if it had a policy: its verdict is in the store, and what it sends leaves by the outbox."""
    return route if isinstance(route.app, Guard) else replace(route, app=Guard(route.app, PLAIN, route.label))
