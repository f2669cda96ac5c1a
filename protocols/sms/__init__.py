"""SMS webhooks: a provider's HTTP request in, one ``sms`` scope per message out.

``provider``
    the vocabulary: `Request`, `Message`, `Status`, `Reply`, `Response`, and the `Provider` interface
``providers``
    one file a provider: its settings, how it signs, what its fields mean, how it wants to be answered
``senders``
    what kind of party an address is, and of which country
``run``
    one application run: its legal events, its verdict, its replies
``sending``
    posts texts to the provider's own interface
``webhook``
    the ASGI application that joins them
"""

from protocols.sms.provider import Message, Provider, Reply, Request, Response, Status
from protocols.sms.providers import SMSSettings, provider_for
from protocols.sms.providers.generic import GenericSettings
from protocols.sms.providers.twilio import TwilioSettings
from protocols.sms.webhook import SMSWebhook

__all__ = [
    "GenericSettings",
    "Message",
    "Provider",
    "Reply",
    "Request",
    "Response",
    "SMSSettings",
    "SMSWebhook",
    "Status",
    "TwilioSettings",
    "provider_for",
]
