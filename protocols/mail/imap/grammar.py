"""The part of IMAP's grammar (RFC 3501) that reading a mailbox needs: arguments out, responses in. Pure.

A response is a list of lines as the client library hands them over: ``bytes`` without the leading ``* ``, and each
literal as a ``bytearray`` of its own.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from protocols.mail.imap.names import FolderNames, decode, encode

Lines = Sequence[bytes | bytearray]

_NUMBER = 20
"""Digits of a number, at most: IMAP's have 32 bits, and 64 in some extensions. What is longer is no number."""
_UID = re.compile(rb"\bUID (\d{1,20})\b")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d{1,20})\b")
_DATE = re.compile(rb'\bINTERNALDATE " ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"')
_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()
_UIDVALIDITY = re.compile(rb"\[UIDVALIDITY (\d{1,20})\]", re.IGNORECASE)
_PERMANENT = re.compile(rb"\[PERMANENTFLAGS \(([^)]*)\)\]", re.IGNORECASE)
_EXISTS = re.compile(rb"^(\d{1,10}) EXISTS\b", re.IGNORECASE | re.MULTILINE)
_FETCH = re.compile(rb"\d+ FETCH \(", re.IGNORECASE)
_EMPTY_BODY = re.compile(rb'BODY\[\] ""', re.IGNORECASE)
_STATUS = re.compile(rb"\b(UIDNEXT|UIDVALIDITY) (\d{1,20})\b", re.IGNORECASE)
_LIST = re.compile(rb'\(([^()]*)\) (?:NIL|"(\\?.?)") (.*)', re.DOTALL)
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(rb"\\(.)")
_NAMESPACE = re.compile(rb'\("((?:[^"\\]|\\.)*)" (?:NIL|"(\\?.?)")(?:[^()]|\([^()]*\))*\)')
_NO_NAMESPACE = re.compile(rb"(?:NAMESPACE )?NIL\b", re.IGNORECASE)
_NOT_READ = frozenset(b"\\noselect \\nonexistent \\all \\drafts \\flagged \\junk \\sent \\trash".split())
"""Attributes of folders (RFC 3501, 7.2.2, RFC 6154) that are not read because they match a pattern."""


@dataclass(frozen=True, slots=True)
class MailboxMessage:
    """One message in the mailbox."""

    uid: int
    raw: bytes
    received_at: float | None
    """INTERNALDATE as Unix time."""


@dataclass(frozen=True, slots=True)
class ListedFolder:
    """A folder in the answer to LIST."""

    name: str
    delimiter: str
    can_be_read: bool
    """Whether it has messages at all, and is not one for sent mail, drafts, spam or the like."""


NextUID = tuple[int, int]
"""A folder's UIDVALIDITY and the UID that its next message gets."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The server's data about a selected folder."""

    uidvalidity: int
    keywords: bool
    """Whether a client may set keywords of its own."""
    writable: bool
    messages: int = 0
    """How many there are."""


def quote(text: str) -> str:
    """Return ``text`` as a quoted string (RFC 3501, 9)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quote_folder(name: str) -> str:
    """Return a folder's name as an argument: in modified UTF-7 (RFC 3501, 5.1.3), quoted."""
    return quote(encode(name))


def uid_set(uids: Iterable[int]) -> str:
    """Write ``[1, 2, 3, 7]`` as ``1:3,7``, so that a batch is one short argument."""
    ranges: list[list[int]] = []
    for uid in sorted(uids):
        if ranges and uid == ranges[-1][1] + 1:
            ranges[-1][1] = uid
        else:
            ranges.append([uid, uid])
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ranges)


def read_search(lines: Lines) -> list[int]:
    """Return the UIDs of a SEARCH response, ascending. The last line is the status text, whose words are no results."""
    found = (word for line in lines[:-1] for word in line.split())
    return sorted({int(word) for word in found if len(word) <= _NUMBER and word.isdigit()})


def read_selected(lines: Lines) -> Selected:
    """Parse a SELECT response. Raises ValueError without a UIDVALIDITY, because UIDs would not be lasting names
    then."""
    text = b"\n".join(lines)
    uidvalidity = _UIDVALIDITY.search(text)
    if uidvalidity is None:
        raise ValueError("no UIDVALIDITY")
    permanent = _PERMANENT.search(text)
    return Selected(
        int(uidvalidity[1]),
        keywords=permanent is None or rb"\*" in permanent[1].split(),
        writable=b"[READ-ONLY]" not in bytes(lines[-1]).upper(),
        messages=int(exists[1]) if (exists := _EXISTS.search(text)) else 0,
    )


def read_next_uid(lines: Lines) -> NextUID:
    """Parse a STATUS response; 0 for what the server does not say."""
    found = {name.upper(): int(number) for name, number in _STATUS.findall(b" ".join(lines[:-1]))}
    return found.get(b"UIDVALIDITY", 0), found.get(b"UIDNEXT", 0)


def read_list(lines: Lines) -> list[ListedFolder]:
    """Parse a LIST response. Folders whose names are no modified UTF-7 are left out."""
    folders = []
    for line, following in pairwise(lines):
        match = None if isinstance(line, bytearray) else _LIST.search(line)
        if match is None:
            continue
        name = decode(_name(match[3], following).decode("ascii", "replace"))
        if name is not None:
            attributes = match[1].lower().split()
            folders.append(ListedFolder(name, _delimiter(match[2]), _NOT_READ.isdisjoint(attributes)))
    return folders


def _name(text: bytes, following: bytes | bytearray) -> bytes:
    """Return a name, which is an atom, a quoted string, or a literal on the next line."""
    if quoted := _QUOTED.match(text):
        return _ESCAPED.sub(rb"\1", quoted[1])
    return bytes(following) if isinstance(following, bytearray) else text.strip()


def _delimiter(found: bytes | None) -> str:
    return (found or b"")[-1:].decode("ascii", "replace")


def read_namespaces(lines: Lines) -> FolderNames:
    """Parse a NAMESPACE response (RFC 2342): the user's own folders, other users', shared ones, in this order."""
    text = b" ".join(lines[:-1])
    found = [(_ESCAPED.sub(rb"\1", prefix), _delimiter(mark)) for prefix, mark in _NAMESPACE.findall(text)]
    if not found or _NO_NAMESPACE.match(text):  # the user has none of their own
        return FolderNames()
    names = [decode(prefix.decode("ascii", "replace")) or "" for prefix, _ in found]
    return FolderNames(found[0][1], names[0], tuple(names[1:]))


def read_sizes(lines: Lines) -> dict[int, int]:
    """Return the RFC822.SIZE of each message, by UID."""
    found = ((_UID.search(text), _SIZE.search(text)) for text, _ in _fetched(lines))
    return {int(uid[1]): int(size[1]) for uid, size in found if uid and size}


def read_messages(lines: Lines) -> list[MailboxMessage]:
    """Return the messages of a FETCH response, without those that have vanished meanwhile (no body, ``NIL``)."""
    messages = []
    for text, literal in _fetched(lines):
        uid, date = _UID.search(text), _DATE.search(text)
        raw = b"" if literal is None and _EMPTY_BODY.search(text) else literal
        if uid and raw is not None:
            messages.append(MailboxMessage(int(uid[1]), raw, _unix_time(date) if date else None))
    return messages


def _fetched(lines: Lines) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the text of each FETCH response without its literals, and the first literal, which is the body."""
    text: list[bytes] = []
    literal: bytes | None = None
    for line in lines:
        if isinstance(line, bytearray):
            literal = bytes(line) if literal is None else literal
            continue
        if _FETCH.match(line) and text:
            yield b" ".join(text), literal
            text, literal = [], None
        text.append(bytes(line))
    yield b" ".join(text), literal


def _unix_time(date: re.Match[bytes]) -> float | None:
    """Parse INTERNALDATE, several times as fast as strptime does."""
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = date.groups()
    try:
        local = datetime(
            int(year), _MONTHS.index(month.lower()) + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC
        )
    except ValueError:
        return None
    offset = 3600 * int(zone_hours) + 60 * int(zone_minutes)
    return local.timestamp() - (offset if sign == b"+" else -offset)


def words(line: bytes | bytearray) -> str:
    """Return a server's words for a log line: printable, on one line, and not long."""
    text = bytes(line[:200]).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text).strip()
