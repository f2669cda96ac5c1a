"""The event id: one short id for a message, in the log, its dead letter and everything sent because of it."""

import base64
import hashlib
import itertools
import os
import random
import time

_BITS = 30


class _Process:
    numbers = itertools.count(random.getrandbits(_BITS))
    """They start at a random number, so that two processes do not make the same ids."""


def _start_elsewhere() -> None:
    """A process that was forked would make the ids of its parent and of its siblings."""
    _Process.numbers = itertools.count(random.getrandbits(_BITS))


os.register_at_fork(after_in_child=_start_elsewhere)  # after random's own, which seeds it anew


def new_id() -> str:
    """Return twelve characters: the second (30 bits), then a number (30 bits), in base 32 with digits before letters.

    In an index, ids of the same time are together, and later ones come after earlier ones; random ids would halve the
    rate of a store.
    """
    return id_of(int(time.time()), next(_Process.numbers))


def part_of(event: str, part: str) -> str:
    """Return an id for a part of an event that is handled as an event of its own: the same each time, beside those of
    the same second."""
    number = int.from_bytes(hashlib.sha256(f"{event} {part}".encode(errors="surrogatepass")).digest()[:8], "big")
    return event[:6] + id_of(0, number)[6:]


def id_of(second: int, number: int) -> str:
    """Return the id that the second and the number make, for an event that gets the same id each time."""
    value = (second % 2**_BITS) << _BITS | number % 2**_BITS
    return base64.b32hexencode((value << 4).to_bytes(8, "big"))[:12].decode().lower()
