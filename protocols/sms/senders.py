"""What kind of party an address is. It is classified before it is parsed: ``PAY247`` is a name, not +44 247."""

import re

_DIGITS = re.compile(r" [1-9]\d{1,14}", re.ASCII)


def as_sent(address: str) -> str:
    """Return ``address`` without unprintable characters, and with the ``+`` that a form had turned into a space."""
    if _DIGITS.fullmatch(address):
        return "+" + address[1:]
    if address.isprintable():
        return address.strip()
    return "".join(character for character in address if character.isprintable()).strip()
