"""Leaves out of scopes and events what nobody else may see: logins, cookies, passwords, tokens, signatures.

Stars take the place of a value whose name says that it is a secret: a key, a header, a field of a query, of a form or
of a JSON text. They are as long as the value was, so that lengths in headers stay right.
"""

import re
from collections.abc import Mapping
from typing import Any

_WORDS = "authorization|cookie|passw|passphrase|pwd|secret|token|signature|api[-_]?key|credential|authentication_data"
_SECRET = re.compile(rf"(?!dkim-|arc-).*(?:{_WORDS})", re.IGNORECASE | re.DOTALL)
"""The name of a secret. A mail's signatures are none: they say who wrote it."""
_NAME = rf"[^\"'=&?;\s\\]{{0,40}}(?:{_WORDS})[^\"'=&?;\s\\]{{0,40}}"
_PART = rf"\bname=\"(?P<name>{_NAME})\"[^\r\n]{{0,99}}\r\n(?:[^\r\n]+\r\n){{0,9}}\r\n"
_FIELDS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf'(?P<before>"(?P<name>{_NAME})"\s{{0,9}}:\s{{0,9}}")(?P<value>(?:[^"\\]|\\.)+)',  # JSON
        rf"(?P<before>(?:^|[&?;\s])(?P<name>{_NAME})=)(?P<value>[^&\s\"'<>]+)",  # a form, a query, a link
        rf"(?P<before>{_PART})(?P<value>[^\r\n]+)",  # multipart/form-data
    )
)
"""A secret within a text: what comes before it, its name, its value."""
_FIELDS_IN_BYTES = tuple(re.compile(each.pattern.encode(), re.IGNORECASE) for each in _FIELDS)


class Secrets:
    """Leaves secrets out, and remembers the names of those that it has found."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def left_out(self, value: Any) -> Any:
        """Return a copy of ``value`` without secrets."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._bytes(bytes(value))
        if isinstance(value, Mapping):
            return {key: self._named(key, each) for key, each in value.items()}
        if _is_pair(value):
            return type(value)((value[0], self._named(value[0], value[1])))
        if isinstance(value, list | tuple):
            return type(value)([self.left_out(each) for each in value])
        return value

    def _named(self, name: Any, value: Any) -> Any:
        text = name.decode("latin-1") if isinstance(name, bytes) else name
        if not isinstance(text, str) or _SECRET.match(text) is None:
            return self.left_out(value)
        return self._masked(text, value)

    def _masked(self, name: str, value: Any) -> Any:
        if isinstance(value, str | bytes) and value:
            self.names.add(name.lower())
            return (b"*" if isinstance(value, bytes) else "*") * len(value)
        if isinstance(value, Mapping):
            return {key: self._masked(name, each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([self._masked(name, each) for each in value])
        return value

    def _text(self, text: str) -> str:
        for pattern in _FIELDS:
            text = pattern.sub(lambda found: found["before"] + self._masked(found["name"], found["value"]), text)
        return text

    def _bytes(self, text: bytes) -> bytes:
        for pattern in _FIELDS_IN_BYTES:
            text = pattern.sub(
                lambda found: found["before"] + self._masked(found["name"].decode("latin-1"), found["value"]), text
            )
        return text


def _is_pair(value: Any) -> bool:
    """Whether ``value`` may be a name and its value, as in a list of headers or of MQTT's user properties."""
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str | bytes)
