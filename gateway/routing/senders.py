"""By sender, for the sms scope."""

from gateway.routing.patterns import Country, Default, Pattern, Phone
from gateway.routing.router import Router
from protocols.asgi import SMSScope


class SMSFromRouter(Router):
    """The first route that matches the sender's number, or its region."""

    scope_types = ("sms",)
    patterns = (Phone, Country, Default)

    def key(self, pattern: Pattern, scope: SMSScope) -> str:
        key: str = (scope["country"] or "") if isinstance(pattern, Country) else scope["sender"]
        return key
