"""The event id: one short id for a message, in the log, its dead letter and everything sent because of it."""

import hashlib
import itertools
import os
import random
import time

_BITS = 30
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
"""Two characters for each number of 10 bits: a table takes a quarter of the time that :mod:`base64` does."""


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


def event_of(item: str) -> str:
    """Return the id of the event for which the item with this id is sent: ``E`` for ``E-0``."""
    return item.partition("-")[0]


def id_of(second: int, number: int) -> str:
    """Return the id that the second and the number make, for an event that gets the same id each time."""
    return _in_base_32(second) + _in_base_32(number)


def _in_base_32(number: int) -> str:
    """Return six characters for the last 30 bits."""
    return _PAIRS[number >> 20 & 1023] + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]
