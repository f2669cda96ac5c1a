"""By sender, for the sms scope."""

from collections.abc import Iterable
from typing import Any

from gateway.routing.patterns import Country, Pattern
from gateway.routing.router import Route, Router, check_policies


class SMSFromRouter(Router):
    """The first route that matches the sender's number, or its region.

    Raises ValueError for a route with an inbox: texts are answered in the webhook's own response, and from the store
    there is no way yet to send one.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        super().__init__(routes)
        check_policies(self.routes, "sms")

    def key(self, pattern: Pattern, scope: Any) -> str:
        key: str = (scope["country"] or "") if isinstance(pattern, Country) else scope["sender"]
        return key
