"""SMS webhooks: a provider's HTTP request comes in, and each message in it makes one ``sms`` scope.

``provider``
    the `Provider` interface, and what it deals with: `Request`, `TextMessage`, `DeliveryReceipt`, `Reply`, `Response`
``providers``
    one file for each provider: its settings, how it signs, what its fields mean, how it wants to be answered
``senders``
    what kind of party an address is, and from which country
``events``
    what an application may send, and when
``run``
    one application run: its verdict and its replies
``sending``
    posts texts to the provider's API
``webhook``
    the ASGI application that joins them
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protocols.sms.provider import (
        DeliveryReceipt,
        Provider,
        ProviderSettings,
        Reply,
        Request,
        Response,
        TextMessage,
    )
    from protocols.sms.providers import PROVIDERS, provider_for
    from protocols.sms.providers.generic import GenericSettings
    from protocols.sms.providers.twilio import TwilioSettings
    from protocols.sms.webhook import SMSWebhook

_HOMES = {
    "GenericSettings": "providers.generic",
    "TextMessage": "provider",
    "Provider": "provider",
    "Reply": "provider",
    "Request": "provider",
    "Response": "provider",
    "ProviderSettings": "provider",
    "SMSWebhook": "webhook",
    "DeliveryReceipt": "provider",
    "TwilioSettings": "providers.twilio",
    "PROVIDERS": "providers",
    "provider_for": "providers",
}

__all__ = [
    "PROVIDERS",
    "DeliveryReceipt",
    "GenericSettings",
    "Provider",
    "ProviderSettings",
    "Reply",
    "Request",
    "Response",
    "SMSWebhook",
    "TextMessage",
    "TwilioSettings",
    "provider_for",
]


def __getattr__(name: str) -> Any:
    """Import a module when its name is used: the events of this scope need neither aiohttp nor phonenumbers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
