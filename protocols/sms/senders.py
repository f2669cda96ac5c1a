"""What kind of party an address is. It is classified before it is parsed: ``PAY247`` is a name, not +44 247."""

import re
from functools import lru_cache

_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)
_DIGITS = re.compile(r" [1-9]\d{1,14}", re.ASCII)


def as_sent(address: str) -> str:
    """Return ``address`` without unprintable characters, and with the ``+`` that a form had turned into a space."""
    if _DIGITS.fullmatch(address):
        return "+" + address[1:]
    if address.isprintable():
        return address.strip()
    return "".join(character for character in address if character.isprintable()).strip()


def country(address: str) -> str | None:
    """Return the region of an E.164 number: ``GB``, ``US`` (but ``GG`` and ``JE`` are in +44 too).

    None for short codes, alphanumeric senders, other channels (``whatsapp:+44...``), international networks (+883), and
    numbers that belong to no region (+44 7700 900123 is reserved for drama).
    """
    return _region(address) if _E164.fullmatch(address) else None


@lru_cache(maxsize=4096)  # parsing takes longer than all the rest, and senders write again
def _region(address: str) -> str | None:
    import phonenumbers  # not light, and the first text asks for it

    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(address))
    except phonenumbers.NumberParseException:
        return None
    return None if region == "001" else region
