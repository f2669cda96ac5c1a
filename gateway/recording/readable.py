"""Turns scopes and events into JSON that a person can read, and back.

``b"text"`` becomes ``{"utf8": "text"}``, other bytes ``{"base64": "..."}``, a tuple ``{"tuple": [...]}``. A dict that
could be taken for one of these, or has keys that are no text, becomes ``{"dict": [[key, value], ...]}``.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "utf8": str.encode,
    "base64": lambda text: base64.b64decode(text, validate=True),
    "tuple": lambda items: tuple(map(read, items)),
    "dict": lambda pairs: {read(key): read(value) for key, value in pairs},
    "object": lambda name: None,
}
"""Key -> what turns the value back. An object that JSON has no form for comes back as None."""
_PLAIN = (str, bool, int, float, type(None))


def readable(value: Any) -> Any:
    """Return ``value`` as JSON has it. Raises RecursionError if it contains itself."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, tuple):
        return {"tuple": [readable(each) for each in value]}
    if isinstance(value, list):
        return [readable(each) for each in value]
    if isinstance(value, Mapping):
        return _dict(value)
    return {"object": type(value).__name__}


def _bytes(value: bytes) -> dict[str, str]:
    try:
        return {"utf8": value.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _dict(value: Mapping[Any, Any]) -> dict[str, Any]:
    plain = all(isinstance(key, str) for key in value) and not (len(value) == 1 and value.keys() <= _FORMS.keys())
    if plain:
        return {key: readable(each) for key, each in value.items()}
    return {"dict": [[readable(key), readable(each)] for key, each in value.items()]}


def read(value: Any) -> Any:
    """Return what :func:`readable` was given. Raises ValueError or TypeError if it has given nothing such."""
    if isinstance(value, list):
        return [read(each) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and value.keys() <= _FORMS.keys():
        (form, content), *_ = value.items()
        return _FORMS[form](content)
    return {key: read(each) for key, each in value.items()}
