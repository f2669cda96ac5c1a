"""Leaves out of scopes and events what nobody else may see: logins, cookies, passwords, tokens, signatures.

Stars take the place of a value whose name says that it is a secret: a key, a header, a field of a query, of a form or
of a JSON text. They are as long as the value was, so that lengths in headers stay right.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

_WORDS = (
    "authorization|cookie|passw|passphrase|pwd|secret|token|signature|credential|authentication_data|jwt"
    "|(?:api|access|auth|private)[-_]?key|session[-_]?(?:id|key)"
)
_SECRET = re.compile(rf"(?!dkim-|arc-).*(?:{_WORDS})", re.IGNORECASE | re.DOTALL)
"""The name of a secret. A mail's signatures are none: they say who wrote it."""
_NAME = rf"[^\"'=&?;\s\\]{{0,40}}(?:{_WORDS})[^\"'=&?;\s\\]{{0,40}}"
_EQUALS = r"=(?!=(?:[&\s]|\Z))"
"""Not the padding of Base64: the letters of a Sec-WebSocket-Key are random, and may contain such a name."""
_PART = rf"\bname=\"?(?P<name>{_NAME})\"?[^\r\n]{{0,99}}\r\n(?:[^\r\n]+\r\n){{0,9}}\r\n"
_ESCAPED = r'(?:[^"\\]|\\\\(?:\\["\\]|[a-z/]))'
"""A character of a string of JSON that is itself in a string of JSON."""
_FIELDS = tuple(
    re.compile(pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        rf'(?P<before>"(?P<name>{_NAME})"\s{{0,9}}:\s{{0,9}}")(?P<value>(?:[^"\\]|\\.)+)',  # JSON
        rf'(?P<before>\\"(?P<name>{_NAME})\\"\s{{0,9}}:\s{{0,9}}\\")(?P<value>{_ESCAPED}+)',  # JSON in a string of JSON
        rf"(?P<before>(?:^|[&?;\s])(?P<name>{_NAME}){_EQUALS})(?P<value>[^&\s\"'<>]+)",  # a form, a query, a link
        rf"(?P<before>{_PART})(?P<value>[^\r\n]+)",  # multipart/form-data
    )
)
"""A secret within a text: what comes before it, its name, its value."""
_FORM = re.compile(r"[^=&?;:/\s\"'<>{]{1,99}=[^\r\n]*\r?\n?\Z")
"""A text that is a form or a query as a whole: in its values, quotes and spaces are what they are."""
_FORM_FIELD = re.compile(
    rf"(?P<before>(?:^|&)(?P<name>{_NAME}){_EQUALS})(?P<value>[^&\r\n]+)", re.IGNORECASE | re.ASCII
)
_OPENS = re.compile(rf'"(?P<name>{_NAME})"\s{{0,9}}:\s{{0,9}}[\[{{]', re.IGNORECASE | re.ASCII)
"""An array or an object of JSON that is a secret."""
_STRING = re.compile(r'"(?P<value>(?:[^"\\]|\\.)*)(?P<after>"?(?:\s{0,9}:)?)', re.DOTALL)
_BRACKETS = re.compile(rf"{_STRING.pattern}|(?P<opens>[\[{{])|(?P<closes>[\]}}])", re.DOTALL)


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

    def events_left_out(self, events: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return a copy of ``events``. A body comes in pieces, and a secret may begin in one and end in another."""
        body = self._bytes(b"".join(each["body"] for each in events if _has_body(each)))
        kept, at = [], 0
        for event in events:
            if _has_body(event):
                size = len(event["body"])
                event, at = {**event, "body": body[at : at + size]}, at + size
            kept.append(self.left_out(event))
        return kept

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
        for pattern in (_FORM_FIELD, *_FIELDS) if _FORM.match(text) else _FIELDS:
            text = pattern.sub(lambda found: found["before"] + self._masked(found["name"], found["value"]), text)
        return self._without_nested(text)

    def _bytes(self, text: bytes) -> bytes:
        return self._text(text.decode("latin-1")).encode("latin-1")

    def _without_nested(self, text: str) -> str:
        """Mask the strings in arrays and objects that are secrets, and leave the keys of the objects."""
        parts: list[str] = []
        at = 0
        while (found := _OPENS.search(text, at)) is not None:
            name, begins, at = found["name"], at, _end(text, found.end())
            parts += text[begins : found.end()], _STRING.sub(partial(self._member, name), text[found.end() : at])
        return "".join((*parts, text[at:]))

    def _member(self, name: str, found: re.Match[str]) -> str:
        is_key = found["after"].endswith(":")
        return found[0] if is_key else f'"{self._masked(name, found["value"])}{found["after"]}'


def _end(text: str, at: int) -> int:
    """Return where the array or object ends whose content begins ``at`` there."""
    depth = 1
    for found in _BRACKETS.finditer(text, at):
        depth += bool(found["opens"]) - bool(found["closes"])
        if not depth:
            return found.end()
    return len(text)


def _is_pair(value: Any) -> bool:
    """Whether ``value`` may be a name and its value, as in a list of headers or of MQTT's user properties."""
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[0], str | bytes)


def _has_body(event: Mapping[str, Any]) -> bool:
    return isinstance(event.get("body"), bytes)
