"""The header fields of a mail, decoded as they are asked for."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property

from protocols.mail.encoded_words import text_of
from protocols.mail.headers import Headers
from protocols.mail.message.address import Address, addresses

_LONGEST_DATE = 200
_LONGEST_THREAD = 32 * 1024
"""Bytes of References that are read at its beginning, and as many at its end."""
_MESSAGE_ID = re.compile(rb"<[^<>\s\x00-\x20\x7f]{1,998}>")
_WORD = re.compile(rb"\s{0,99}([^\s;,(]{1,99})")


class Fields(Mapping[str, str]):
    """The header fields of a message: a mapping from names, in upper or lower case, to the first field of that name.

    Values are decoded text on one line. Names are in lower case when they are iterated over.
    """

    def __init__(self, headers: Headers, charset: Callable[[], str] = str) -> None:
        """``charset`` returns the one that is likely for bytes without a label."""
        self._find_charset = charset
        self._values: dict[str, list[bytes]] = {}
        self._addresses: dict[str, tuple[Address, ...]] = {}
        """By name: those of From are read for the kind of the mail, too."""
        for name, value in headers:
            self._values.setdefault(name.decode("latin-1"), []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._decoded(self._values[name.lower()][0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def get_all(self, name: str) -> list[str]:
        """Return the values of all fields of that name, in order."""
        return [self._decoded(value) for value in self._values.get(name.lower(), ())]

    def raw(self, name: str) -> bytes:
        """Return the first value of that name, unfolded, but not decoded; empty if there is none."""
        return self._values.get(name.lower(), (b"",))[0]

    def word(self, name: str) -> str:
        """Return the first word of a field, without parameters and comments, in lower case."""
        found = _WORD.match(self.raw(name))
        return found[1].decode("latin-1").lower() if found else ""

    def addresses(self, name: str) -> tuple[Address, ...]:
        """Return the addresses of the first field of that name, in order; of To and Cc, those of all such fields, into
        which some programs divide many recipients."""
        if name not in self._addresses:
            values = self._values.get(name.lower(), [b""])
            value = b", ".join(values if name in ("to", "cc") else values[:1])
            self._addresses[name] = addresses(value, "" if value.isascii() else self._charset)
        return self._addresses[name]

    def ids(self, name: str) -> tuple[str, ...]:
        """Return the message ids in the first field of that name, each once, with their brackets."""
        value = self.raw(name)
        if len(value) > 2 * _LONGEST_THREAD:
            value = value[:_LONGEST_THREAD] + b" " + value[-_LONGEST_THREAD:]
        return tuple(dict.fromkeys(found.decode("utf-8", "replace") for found in _MESSAGE_ID.findall(value)))

    def date(self, name: str = "date") -> datetime | None:
        """Return the time in the first field of that name, with its time zone (UTC if it names none); None if it holds
        no time."""
        try:
            found = parsedate_to_datetime(self.raw(name)[:_LONGEST_DATE].decode("latin-1"))
            aware = found if found.tzinfo else found.replace(tzinfo=UTC)
            aware.astimezone(UTC)  # raises near the first and the last year
        except Exception:  # the standard library's parser has more ways to fail than ValueError
            return None
        return aware

    def _decoded(self, value: bytes) -> str:
        return text_of(value, "" if value.isascii() else self._charset)

    @cached_property
    def _charset(self) -> str:
        return self._find_charset()
