"""The event id: one short id per message, from the socket to the log, the dead letter and what it makes us send."""

import base64
import random

_random = random.Random()  # noqa: S311 -- an id is a name, no secret; seeded by the system


def new_id() -> str:
    """Ten characters of base 32, which is 50 random bits: short enough to type, too many to meet twice."""
    return base64.b32encode(_random.randbytes(7))[:10].decode().lower()
