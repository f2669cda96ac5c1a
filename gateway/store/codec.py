"""Scope and events as bytes, and back, exactly.

MessagePack, with one type of its own for tuples. It keeps None, bool, int (64 bits), float, str, bytes, list, tuple and
dict; a subclass of one of them comes back as the plain type. ``scope["state"]`` belongs to the running application and
is left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgpack

VERSION = 1
_TUPLE = 1
_PLAIN = (bool, int, float, str, bytes, tuple, list, dict)


def encode(scope: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bytes:
    """One message for the store. Raises ValueError that names the key whose value cannot be kept."""
    kept = {key: value for key, value in scope.items() if key != "state"}
    try:
        return _pack([VERSION, kept, list(events)])
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(_blame("scope", kept) or _blame("events", events) or str(error)) from error


def decode(data: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The scope, without ``state``, and the events. Raises ValueError, whatever the bytes are."""
    try:
        match _unpack(data):
            case [1, dict() as scope, list() as events] if all(isinstance(event, dict) for event in events):
                return cast("dict[str, Any]", scope), cast("list[dict[str, Any]]", events)
            case _:
                raise ValueError("no scope and events are in it")
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ValueError(f"stored content cannot be read: {error}") from error


def _pack(value: Any) -> bytes:
    # strict_types hands tuples to _convert; surrogates are how undecodable bytes of a peer are kept in a str.
    return cast("bytes", msgpack.packb(value, default=_convert, strict_types=True, unicode_errors="surrogatepass"))


def _unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, ext_hook=_extension, strict_map_key=False, unicode_errors="surrogatepass")


def _convert(value: Any) -> Any:
    if type(value) is tuple:
        return msgpack.ExtType(_TUPLE, _pack(list(value)))
    for plain in _PLAIN:
        if isinstance(value, plain) and type(value) is not plain:
            return _plainly(plain, value)
    raise TypeError(f"a {type(value).__name__} cannot be stored")


def _plainly(plain: type, value: Any) -> Any:
    return str.__str__(value) if plain is str else plain(value)  # an enum's own str() is its name


def _extension(code: int, data: bytes) -> Any:
    if code != _TUPLE:
        raise ValueError(f"type {code} is unknown")
    return tuple(_unpack(data))


def _blame(path: str, value: Any) -> str:
    """Which part of ``value`` cannot be stored, and why; empty where all of it can."""
    try:
        _pack(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(value, Mapping):
            parts = ((f"{path}[{key!r}]", part) for key, part in value.items())
        elif isinstance(value, list | tuple):
            parts = ((f"{path}[{index}]", part) for index, part in enumerate(value))
        else:
            return f"{path}: {error}"
        return next(filter(None, (_blame(name, part) for name, part in parts)), f"{path}: {error}")
    return ""
