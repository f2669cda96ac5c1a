"""SMS webhooks: a provider's HTTP request comes in, and each message in it makes one ``sms`` scope.

``provider``
    the `Provider` interface, and what it deals with: `Request`, `TextMessage`, `DeliveryReceipt`, `Confirmation`,
    `Reply`, `Response`
``providers``
    one file for each provider: its settings, how it signs, what its fields mean, how it wants to be answered
``senders``, ``country``
    what kind of party an address is, and from which country
``signed_url``
    the URL that a provider has signed, which is not always the request's
``events``
    what an application may send, and when
``run``
    one application run: its verdict and its replies
``sending``
    posts texts to the provider's API
``fetching``
    gets public keys and confirmations, by URLs that a provider's request names
``long_texts``
    puts the parts of long texts together
``repetitions``
    lets a message that comes again while it is handled wait for the same result
``webhook``
    the ASGI application that joins them
"""

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from protocols.sms.media import FetchedMedia as FetchedMedia
    from protocols.sms.media import MediaNotFetched as MediaNotFetched
    from protocols.sms.provider import DeliveryReceipt as DeliveryReceipt
    from protocols.sms.provider import Provider as Provider
    from protocols.sms.provider import ProviderSettings as ProviderSettings
    from protocols.sms.provider import Reply as Reply
    from protocols.sms.provider import Request as Request
    from protocols.sms.provider import Response as Response
    from protocols.sms.provider import TextMessage as TextMessage
    from protocols.sms.providers import PROVIDERS as PROVIDERS
    from protocols.sms.providers import provider_for as provider_for
    from protocols.sms.providers.generic import GenericSettings as GenericSettings
    from protocols.sms.providers.twilio import TwilioSettings as TwilioSettings
    from protocols.sms.webhook import SMSWebhook as SMSWebhook
else:
    __all__, __getattr__ = lazy_names(
        __name__,
        {
            "protocols.sms.media": ("FetchedMedia", "MediaNotFetched"),
            "protocols.sms.provider": (
                "DeliveryReceipt",
                "Provider",
                "ProviderSettings",
                "Reply",
                "Request",
                "Response",
                "TextMessage",
            ),
            "protocols.sms.providers": ("PROVIDERS", "provider_for"),
            "protocols.sms.providers.generic": ("GenericSettings",),
            "protocols.sms.providers.twilio": ("TwilioSettings",),
            "protocols.sms.webhook": ("SMSWebhook",),
        },
    )
