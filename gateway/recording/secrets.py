"""Leaves out of scopes and events what nobody else may see: logins, cookies, passwords, tokens, signatures.

Stars take the place of a value whose name says that it is a secret: a key, a header, a field of a query, of a form, of
JSON or of XML. They are as long as the value was, so that lengths in headers stay right. A number of JSON stays a
number: its digits become ones.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gateway.secret_names import CODES, WITHIN, WORDS

_SOME = r"[^\"'=&?;\s\\<>]{0,40}"
_NAME = rf"(?:{_SOME}(?:{WITHIN}){_SOME}|(?:{_SOME}[-_.\[])?(?:{WORDS})(?:[-_.\]]{_SOME})?|{CODES})"
_SECRET = re.compile(
    rf"(?!dkim-|arc-)(?:.*(?:{WITHIN})|(?:.*[-_.\[])?(?:{WORDS})(?:[-_.\]]|\Z)|{CODES}\Z)", re.IGNORECASE | re.DOTALL
)
"""The name of a secret. A mail's signatures are none: they say who wrote it."""
_NUMBERED = rf"(?:{_SOME}(?:{WITHIN}|passwor[dt])|(?:{_SOME}[-_.])?(?:{WORDS})|{CODES})"
"""A name that ends with that of a secret: ``max_tokens`` and ``token_count`` are numbers of something."""
_OPENS_DOORS = f"{WITHIN}|activat|confirm|invit|magic|reset|unsubscribe|verif"
"""Parts of a path before a token."""
_EQUALS = r"=(?!=(?:[&\s]|\Z))"
"""Not the padding of Base64: the letters of a Sec-WebSocket-Key are random, and may contain such a name."""
_PART = rf"\bname=\"?(?P<name>{_NAME})\"?[^\r\n]{{0,99}}\r\n(?:[^\r\n]+\r\n){{0,9}}\r\n"
_ESCAPED = r'(?:[^"\\]|\\\\(?:\\["\\]|[a-z/]))'
"""A character of a string of JSON that is itself in a string of JSON."""
_ELEMENT = rf"<(?P<name>{_NAME})(?:\s[^<>]{{0,200}})?>(?:<!\[CDATA\[)?"
_FIELDS = tuple(
    re.compile(pattern, re.IGNORECASE | re.ASCII)
    for pattern in (
        rf'(?P<before>"(?P<name>{_NAME})"\s{{0,9}}:\s{{0,9}}")(?P<value>(?:[^"\\]|\\.)+)',  # JSON
        rf'(?P<before>\\"(?P<name>{_NAME})\\"\s{{0,9}}:\s{{0,9}}\\")(?P<value>{_ESCAPED}+)',  # JSON in a string of JSON
        rf"(?P<before>(?:^|[&?;\s])(?P<name>{_NAME}){_EQUALS}(?P<quote>[\"'])?)"
        r"(?P<value>(?(quote)[^\"'<>]+|[^&\s\"'<>]+))",  # a form, a query, a link, an attribute of XML
        rf"(?P<before>{_PART})(?P<value>[^\r\n]+)",  # multipart/form-data
        rf"(?P<before>{_ELEMENT})(?P<value>\s{{0,99}}[^<\]\s][^<\]]*)",  # XML
        rf"(?P<before>/(?P<name>[^/\s]{{0,40}}(?:{_OPENS_DOORS})[^/\s]{{0,40}})/(?:[^/\s]{{1,64}}/){{0,2}})"
        r"(?P<value>(?=[^/\s]{0,200}\d)[\w.~%=-]{16,})",  # a path
    )
)
"""A secret within a text: what comes before it, its name, its value."""
_NUMBER = re.compile(
    rf'(?P<before>"(?P<name>{_NUMBERED})"\s{{0,9}}:\s{{0,9}}-?)(?P<value>\d{{4,40}})(?![\d.eE])',
    re.IGNORECASE | re.ASCII,
)
"""A secret that is a number of JSON."""
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

    def _masked(self, name: str, value: Any, star: str = "*") -> Any:
        if isinstance(value, str | bytes) and value:
            self.names.add(name.lower())
            return (star.encode() if isinstance(value, bytes) else star) * len(value)
        if isinstance(value, Mapping):
            return {key: self._masked(name, each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)([self._masked(name, each) for each in value])
        return value

    def _text(self, text: str) -> str:
        for pattern in (_FORM_FIELD, *_FIELDS) if _FORM.match(text) else _FIELDS:
            text = pattern.sub(lambda found: found["before"] + self._masked(found["name"], found["value"]), text)
        text = _NUMBER.sub(lambda found: found["before"] + self._masked(found["name"], found["value"], "1"), text)
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
