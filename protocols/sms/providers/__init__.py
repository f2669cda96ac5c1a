"""The providers, by their settings. A new one: a file beside these, and a line in each of the two below."""

from protocols.sms.provider import Provider
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
