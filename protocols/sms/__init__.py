"""SMS webhooks: a provider's HTTP request in, one ``sms`` scope per message out.

``provider``
    the vocabulary: `Request`, `Message`, `Status`, `Reply`, `Response`, and the `Provider` interface
``providers``
    one file a provider: its settings, how it signs, what its fields mean, how it wants to be answered
``senders``
    what kind of party an address is, and of which country
``events``
    what an application may send, and when
``run``
    one application run: its verdict, its replies
``sending``
    posts texts to the provider's own interface
``webhook``
    the ASGI application that joins them
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protocols.sms.provider import Message, Provider, Reply, Request, Response, Status
    from protocols.sms.providers import SMSSettings, provider_for
    from protocols.sms.providers.generic import GenericSettings
    from protocols.sms.providers.twilio import TwilioSettings
    from protocols.sms.webhook import SMSWebhook

_HOMES = {
    "GenericSettings": "providers.generic",
    "Message": "provider",
    "Provider": "provider",
    "Reply": "provider",
    "Request": "provider",
    "Response": "provider",
    "SMSSettings": "providers",
    "SMSWebhook": "webhook",
    "Status": "provider",
    "TwilioSettings": "providers.twilio",
    "provider_for": "providers",
}

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


def __getattr__(name: str) -> Any:
    """Who asks for the events of this scope needs neither aiohttp nor phonenumbers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
