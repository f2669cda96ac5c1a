"""From which region a number is. This imports the numbering plans of all countries, and the webhook does that early."""

import re
from functools import lru_cache

import phonenumbers

_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)


def country(address: str) -> str | None:
    """Return the region of an E.164 number: ``GB``, ``US`` (but ``GG`` and ``JE`` are in +44 too).

    None for short codes, alphanumeric senders, other channels (``whatsapp:+44...``), international networks (+883), and
    numbers that belong to no region (+44 7700 900123 is reserved for drama).
    """
    return _region(address) if _E164.fullmatch(address) else None


@lru_cache(maxsize=4096)  # parsing takes longer than all the rest, and senders write again
def _region(address: str) -> str | None:
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(address))
    except phonenumbers.NumberParseException:
        return None
    return None if region == "001" else region
