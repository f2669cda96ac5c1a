"""The providers, by their settings. A new one: a file beside these, and a line in each of the three below."""

from collections.abc import Mapping
from typing import Any

from protocols.sms.provider import Provider, parts
from protocols.sms.providers.generic import Generic, GenericSettings
from protocols.sms.providers.twilio import Twilio, TwilioSettings

SMSSettings = TwilioSettings | GenericSettings
"""Told apart by ``provider``."""


def provider_for(settings: SMSSettings) -> Provider:
    match settings:
        case TwilioSettings():
            return Twilio(settings)
        case GenericSettings():
            return Generic(settings)


_LONGEST = {each.name: each.longest for each in (Twilio, Generic)}


def parts_of(event: Mapping[str, Any], provider: str) -> list[dict[str, Any]]:
    """An ``sms.send`` as the texts that the provider of that name takes, in their order. One that is not known here
    takes any."""
    return parts(event, _LONGEST.get(provider))
