"""By sender, for the sms scope."""

from typing import Any

from gateway.routing.patterns import Country, Default, Pattern, Phone
from gateway.routing.router import Router


class SMSFromRouter(Router):
    """The first route that matches the sender's number, or its region."""

    scope_types = ("sms",)
    patterns = (Phone, Country, Default)

    def key(self, pattern: Pattern, scope: Any) -> str:
        key: str = (scope["country"] or "") if isinstance(pattern, Country) else scope["sender"]
        return key
