"""Rows of SQLite. What all engines have in common is in :mod:`gateway.store.rows`."""

import json
from collections.abc import Iterable

from gateway.store.rows import (
    DAMAGED,
    MESSAGE,
    OUTGOING,
    as_float,
    as_int,
    as_str,
    checksum,
    message_of,
    message_values,
    outgoing_checksum,
    outgoing_of,
    outgoing_values,
    text,
)

__all__ = [
    "DAMAGED",
    "MESSAGE",
    "OUTGOING",
    "as_float",
    "as_int",
    "as_str",
    "checksum",
    "listed",
    "message_of",
    "message_values",
    "outgoing_checksum",
    "outgoing_of",
    "outgoing_values",
    "text",
]


def listed(values: Iterable[object]) -> str:
    """The parameter for ``IN (SELECT value FROM json_each(?))``: one statement, however many there are."""
    return json.dumps(list(values))
