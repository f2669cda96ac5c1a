"""Turns scope and events into bytes, and back, exactly.

MessagePack, with one type of its own for tuples. It keeps None, bool, int (64 bits), float, str, bytes, list, tuple and
dict; a subclass of one of them comes back as the plain type. ``scope["state"]`` belongs to the running application and
is left out.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgpack

VERSION = 1
_TUPLE = 1
_DEEPEST = 64
"""Levels of tuples in tuples. Each takes some of the C stack, and no exception reports the end of that."""
_HEAD = bytes((0x93, VERSION))
"""A list of three, the first of which is the version; scope and events follow."""
_own = threading.local()
"""A thread's packers, by depth: each has a large buffer, which costs more to make than a message to pack."""
_PLAIN: tuple[type[Any], ...] = (bool, int, float, str, bytes, tuple, list, dict)


def encode(scope: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> bytes:
    """The content of one message. Raises ValueError, which names the key whose value cannot be stored."""
    return Messages(scope).encode(events)


class Messages:
    """Encodes messages of one scope, which is packed once."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        """Raises ValueError, which names the key whose value cannot be stored."""
        self._head = _HEAD + _packed("scope", {key: value for key, value in scope.items() if key != "state"})

    def encode(self, events: Sequence[Mapping[str, Any]]) -> bytes:
        """Encode the message that ``events`` bring, as :func:`encode` does."""
        return self._head + _packed("events", list(events))


def _packed(name: str, value: Any) -> bytes:
    try:
        return _pack(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(_blame(name, value) or str(error)) from error


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


def _pack(value: Any, depth: int = 0) -> bytes:
    # strict_types hands tuples to _convert; surrogates are how undecodable bytes of a peer are kept in a str.
    packers: dict[int, Any] = _own.__dict__.setdefault("packers", {})
    if depth not in packers:
        convert = partial(_convert, depth)
        packers[depth] = msgpack.Packer(default=convert, strict_types=True, unicode_errors="surrogatepass")
    return cast("bytes", packers[depth].pack(value))


def _unpack(data: bytes, depth: int = 0) -> Any:
    hook = partial(_extension, depth)
    return msgpack.unpackb(data, ext_hook=hook, strict_map_key=False, unicode_errors="surrogatepass")


def _convert(depth: int, value: Any) -> Any:
    if type(value) is tuple and depth < _DEEPEST:
        return msgpack.ExtType(_TUPLE, _pack(list(value), depth + 1))
    for plain in _PLAIN:
        if isinstance(value, plain) and type(value) is not plain:
            return str.__str__(value) if plain is str else plain(value)  # an enum's own str() is its name
    raise TypeError(f"a {type(value).__name__} cannot be stored" + " so deep" * (depth == _DEEPEST))


def _extension(depth: int, code: int, data: bytes) -> Any:
    if code != _TUPLE or depth == _DEEPEST:
        raise ValueError(f"type {code} is unknown" if code != _TUPLE else "tuples are nested too deep")
    return tuple(_unpack(data, depth + 1))


def _blame(path: str, value: Any, depth: int = 10) -> str:
    """Which part of ``value`` cannot be stored, and why; empty if all of it can. It goes no deeper than ``depth``: a
    list that contains itself has no end."""
    try:
        _pack(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        deeper = (_blame(f"{path}[{key!r}]", part, depth - 1) for key, part in _parts(value) if depth)
        return next(filter(None, deeper), f"{path}: {error}")
    return ""


def _parts(value: Any) -> Iterable[tuple[object, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()
