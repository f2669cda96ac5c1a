"""What kind of party an address is. It is classified before it is parsed: ``PAY247`` is a name, not +44 247."""

import re
import unicodedata
from typing import Literal

SenderType = Literal["number", "shortcode", "alphanumeric", "other"]

_DIGITS = re.compile(r" [1-9]\d{1,14}", re.ASCII)
_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)
_WRITTEN = re.compile(r"(?:\+|00)[1-9][\d .()/-]*", re.ASCII)
"""A number as people write it, with its country in front."""
_BETWEEN_DIGITS = re.compile(r"[ .()/-]")
_SHORT_CODE = re.compile(r"[1-9]\d{2,7}", re.ASCII)
_NATIONAL = re.compile(r"\d{6,15}", re.ASCII)
"""A number without its country, as a phone shows it. Seven and eight digits are a short code if they begin with 1 to 9.
"""
_LONGEST_NAME = 11
"""Characters of an alphanumeric sender (3GPP TS 23.040, 9.1.2.5)."""
_IN_NAMES = frozenset(" &.-_'+!#%*/")
"""Characters that names have beside letters and digits. ``:`` and ``@`` are of channels and mail addresses."""


def as_sent(address: str) -> str:
    """Return ``address`` without unprintable characters, and with the ``+`` that a form had turned into a space."""
    if _DIGITS.fullmatch(address):
        return "+" + address[1:]
    if address.isprintable():
        return address.strip()
    return "".join(character for character in address if character.isprintable()).strip()


def with_sign(address: str) -> str:
    """Return ``address`` with a ``+`` if it is an international number without one, as some providers write them.

    A short code stays what it is: no international number has fewer than nine digits.
    """
    plain = as_sent(address)
    is_long = plain.isascii() and plain.isdecimal() and 9 <= len(plain) <= 15 and plain[0] != "0"
    return f"+{plain}" if is_long else plain


def sender_type(address: str) -> SenderType:
    """What ``address`` is: ``number`` (international or national), ``shortcode`` (3 to 8 digits), ``alphanumeric`` (a
    name of up to 11 characters with a letter), or ``other``: ``whatsapp:+44...``, an e-mail address, nothing."""
    if _SHORT_CODE.fullmatch(address):
        return "shortcode"
    if e164(address) is not None or _NATIONAL.fullmatch(_BETWEEN_DIGITS.sub("", address)):
        return "number"
    return "alphanumeric" if _is_name(address) else "other"


def e164(address: str) -> str | None:
    """Return the number ``+`` and 2 to 15 digits, if ``address`` is one with its country; else None.

    ``+44 (7700) 900-123`` and ``00447700900123`` are; ``07700900123`` is not, nor is a number in other digits than
    ASCII, in which a sender can look like another one.
    """
    if _E164.fullmatch(address):
        return address
    if not _WRITTEN.fullmatch(address):
        return None
    digits = _BETWEEN_DIGITS.sub("", address)
    plain = digits if digits[0] == "+" else f"+{digits[2:]}"
    return plain if _E164.fullmatch(plain) else None


def _is_name(address: str) -> bool:
    return 0 < len(address) <= _LONGEST_NAME and any(map(str.isalpha, address)) and all(map(_may_be_in_name, address))


def _may_be_in_name(character: str) -> bool:
    return character in _IN_NAMES or unicodedata.category(character)[0] in "LNM"
