"""What kind of party an address is. Classify before parsing: ``PAY247`` is a name, not +44 247."""

import re
from functools import lru_cache

import phonenumbers

_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)
_DIGITS = re.compile(r" [1-9]\d{1,14}", re.ASCII)


def as_sent(address: str) -> str:
    """``address`` fit for a log line, and without the damage of a form: an unescaped ``+`` had become a space."""
    if _DIGITS.fullmatch(address):
        return "+" + address[1:]
    if address.isprintable():
        return address.strip()
    return "".join(character for character in address if character.isprintable()).strip()


def country(address: str) -> str | None:
    """The region of an E.164 number (``GB``, ``US``); ``GG`` and ``JE`` are in +44 too.

    None for short codes, alphanumeric senders, other channels (``whatsapp:+44...``), ranges that belong to no region
    (+44 7700 900123 is reserved for drama) and international networks (+883).
    """
    return _region(address) if _E164.fullmatch(address) else None


@lru_cache(maxsize=4096)  # parsing takes longer than all else here together, and who writes once writes again
def _region(address: str) -> str | None:
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(address))
    except phonenumbers.NumberParseException:
        return None
    return None if region == "001" else region
