"""The event id: one short id per message, from the socket to the log, the dead letter and what it makes us send."""

import base64
import itertools
import random
import time

_BITS = 30
_number = itertools.count(random.getrandbits(_BITS))
"""Begins anywhere, so that two processes do not count alike."""


def new_id() -> str:
    """Twelve characters: the second (30 bits), then a number (30 bits), in base 32 with digits before letters.

    Ids of one time stand together in an index, and later ones behind earlier ones; random ones cost a store half its
    rate.
    """
    value = (int(time.time()) % 2**_BITS) << _BITS | next(_number) % 2**_BITS
    return base64.b32hexencode((value << 4).to_bytes(8, "big"))[:12].decode().lower()
