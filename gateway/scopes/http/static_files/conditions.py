"""Conditional requests (RFC 9110, 13): whether a client has the file already, or wants to read on. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime

Fields = Mapping[str, str]
"""The header fields of a request, by their names in lower case."""

_TAG = re.compile(r'(?:W/)?"[^"]*"')
_LONGEST_DATE = 64
"""Characters; the three forms of a date have 24 to 33."""


@dataclass(frozen=True)
class Validators:
    """What tells one version of a file from another."""

    tag: str
    """A strong entity tag, with its quotes."""
    modified: int
    """Unix time, as Last-Modified says it."""

    @property
    def last_modified(self) -> str:
        return formatdate(self.modified, usegmt=True)


def status_of(fields: Fields, current: Validators) -> int:
    """Return 200; 304 if the client has this version; 412 if it wants another one only. In the order of 13.2.2."""
    if not _is_wanted(fields, current):
        return 412
    if (tags := fields.get("if-none-match")) is not None:
        return 304 if names_tag(tags, current.tag) else 200
    since = _date(fields.get("if-modified-since", ""))
    return 304 if since is not None and current.modified <= since else 200


def _is_wanted(fields: Fields, current: Validators) -> bool:
    if (tags := fields.get("if-match")) is not None:
        return tags.strip() == "*" or current.tag in _TAG.findall(tags)
    since = _date(fields.get("if-unmodified-since", ""))
    return since is None or current.modified <= since


def takes_range(fields: Fields, current: Validators) -> bool:
    """Return whether ranges are still of the version that the client has begun to read (13.1.5)."""
    condition = fields.get("if-range")
    return condition is None or condition.strip() in (current.tag, current.last_modified)


def names_tag(tags: str, tag: str) -> bool:
    """Return whether ``tags`` has ``tag``. A proxy that compresses makes it a weak one (13.1.2)."""
    return tags.strip() == "*" or tag in (each.removeprefix("W/") for each in _TAG.findall(tags))


def _date(text: str) -> float | None:
    """Return the Unix time; None for what is not a date, which counts as absent."""
    if not text or len(text) > _LONGEST_DATE:
        return None
    try:
        found = parsedate_to_datetime(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
