"""Messages as bytes for other processes."""

from datetime import date
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgpack

LARGEST = 4 * 1024 * 1024
"""Bytes of a packed message."""
DEEPEST = 10
"""The deepest nesting of lists and dicts that an error names: a list may contain itself."""


def pack(message: dict[str, Any]) -> bytes:
    """Raises TypeError, with a sentence, for a value that another process cannot get."""
    try:
        packed: bytes = msgpack.packb(message)
    except (TypeError, ValueError, OverflowError) as error:
        place, value = _wrong("", message)
        hint = next((hint for kind, hint in _INSTEAD if isinstance(value, kind)), "")
        raise TypeError(
            f"the channel layer cannot send the message {message.get('type')!r} to other processes: the value of "
            f"{place!r} is not text, bytes, a number, a bool, None, a list or a dict ({error}){hint}"
        ) from None
    return packed


_INSTEAD = (
    (date | time_of_day, "; write value.isoformat()"),
    (Decimal | UUID, "; write str(value)"),
    (set | frozenset, "; write list(value)"),
)


def _wrong(place: str, value: Any, depth: int = 0) -> tuple[str, Any]:
    """Return the innermost value in ``value`` that cannot be packed, and its place: ``when``, ``rows[0].price``."""
    parts: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        parts = [(f"{place}.{key}" if place else f"{key}", part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{place}[{index}]", part) for index, part in enumerate(value)]
    found = next(((name, part) for name, part in parts if not _can_pack(part)), None)
    return (place, value) if found is None or depth > DEEPEST else _wrong(*found, depth + 1)


def _can_pack(value: Any) -> bool:
    try:
        msgpack.packb(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def check_size(packed: bytes, name: str) -> None:
    """Raises ValueError."""
    if len(packed) > LARGEST:
        raise ValueError(f"a message to {name} has {len(packed)} bytes; a channel layer takes {LARGEST}")


def unpacked_copy(message: dict[str, Any]) -> dict[str, Any]:
    """Return ``message`` as another process gets it: a tuple is a list there. Raises TypeError, ValueError."""
    check_size(packed := pack(message), str(message.get("type")))
    copied: dict[str, Any] = msgpack.unpackb(packed, strict_map_key=False)
    return copied
