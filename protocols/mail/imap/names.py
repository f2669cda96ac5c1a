"""Names of folders: as people write them, and as a server has them. Pure."""

import base64
import re
from dataclasses import dataclass

INBOX = "INBOX"
"""Every account has it, under this name, in any case of letters (RFC 3501, 5.1)."""
_WILD = {"*": ".*", "%": "[^/.]*"}
_NOT_ASCII = re.compile(r"&|[^\x20-\x7e]+")
_SHIFTED = re.compile(r"&([^-&]*)-")


@dataclass(frozen=True, slots=True)
class FolderNames:
    """How a server writes names."""

    delimiter: str = "/"
    """What it has between a folder and one inside it; empty if it has no folders inside folders."""
    prefix: str = ""
    """What it has before the names of all of the user's folders but INBOX: ``INBOX.`` with many."""
    others: tuple[str, ...] = ()
    """The prefixes of other users' and shared folders."""

    def on_server(self, name: str) -> str:
        """Return the server's name for a folder. In ``name``, ``/`` may stand for the delimiter, and the prefix may
        be left out."""
        if name.upper() == INBOX:
            return INBOX
        if self.delimiter:
            name = name.replace("/", self.delimiter)
        known = [prefix.upper() for prefix in (self.prefix, *self.others) if prefix]
        return name if any(map(name.upper().startswith, known)) else self.prefix + name


def as_written(name: str) -> str:
    """Return a folder's name as a file has it, which is the same for INBOX in any case. Raises ValueError."""
    if not name or name != name.strip() or not name.isprintable():
        raise ValueError(f"{name!r} is not the name of a folder; write a name without spaces around it")
    return INBOX if name.upper() == INBOX else name


def is_pattern(name: str) -> bool:
    """Return whether ``name`` stands for all folders that match it, as LIST has it (RFC 3501, 6.3.8)."""
    return "*" in name or "%" in name


def overlap(one: str, other: str) -> bool:
    """Return whether a folder may have both names, of which each may be a pattern. Two patterns overlap if one of them
    matches the other."""
    return one == other or _matches(one, other) or _matches(other, one)


def _matches(pattern: str, name: str) -> bool:
    """Match as LIST does (RFC 3501, 6.3.8); the server's delimiter may be ``/`` or ``.``."""
    parts = (_WILD.get(char) or re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), name) is not None


def encode(name: str) -> str:
    """Return ``name`` in modified UTF-7 (RFC 3501, 5.1.3)."""
    return _NOT_ASCII.sub(_shift, name)


def _shift(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    coded = base64.b64encode(match[0].encode("utf-16-be", "surrogatepass")).decode().rstrip("=")
    return f"&{coded.replace('/', ',')}-"


def decode(name: str) -> str | None:
    """Return the name that is ``name`` in modified UTF-7; None if :func:`encode` would not give that again."""
    try:
        decoded = _SHIFTED.sub(_unshift, name)
    except ValueError:  # of base64 and of UTF-16
        return None
    return decoded if encode(decoded) == name else None


def _unshift(match: re.Match[str]) -> str:
    coded = match[1].replace(",", "/")
    return base64.b64decode(coded + "=" * (-len(coded) % 4)).decode("utf-16-be") if coded else "&"
