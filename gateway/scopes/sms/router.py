"""The router of the sms scope: by sender."""

from gateway.routing.patterns import Default, Pattern
from gateway.routing.router import Router
from gateway.scopes.sms.patterns import Country, Phone
from protocols.asgi import SMSScope


class SMSFromRouter(Router):
    """The first route that matches the sender's number, or its region."""

    scope_types = ("sms",)
    patterns = (Phone, Country, Default)

    def key(self, pattern: Pattern, scope: SMSScope) -> str:
        key: str = (scope["country"] or "") if isinstance(pattern, Country) else scope["sender"]
        return key
