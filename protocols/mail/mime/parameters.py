"""Reads the parameters of a MIME header field (RFC 2045, 5.1; RFC 2231). Pure; never raises."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice, takewhile
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from protocols.mail.charsets import decode_text, one_line
from protocols.mail.encoded_words import text_of

LONGEST = 64 * 1024
"""Bytes of a field that are read."""
MOST = 500
"""Parameters of a field that are read."""

_SHORT = 200
_PARAMETER = re.compile(rb';\s*([^\s=;"]{1,100})\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))', re.DOTALL)
_FIRST = re.compile(rb"\A[^;\s]*[;\s]?")
_ESCAPED = re.compile(rb'\\([]["\\()<>@,;:])')
"""A quoted pair. A backslash before a letter is the separator of a Windows path, which should be doubled."""
_SECTION = re.compile(r"(.*?)(?:\*(\d{1,3}))?(\*)?")
_CHARSET = re.compile(rb"([A-Za-z0-9_.:-]{0,40})'[A-Za-z0-9-]{0,40}'")
"""The prefix of an extended value: its charset and language."""


def first_word(value: bytes) -> str:
    """Return what a field says before its parameters, in lower case: ``text/plain``, ``attachment``, ``base64``."""
    return _word(value[:_SHORT].partition(b";")[0])


@lru_cache(maxsize=256)
def _word(head: bytes) -> str:
    words = takewhile(lambda word: b"=" not in word, head.split(b"(")[0].split())
    return b" ".join(words).strip(b"\"'").decode("ascii", "replace").lower()


def boundary(value: bytes) -> bytes:
    """Return the ``boundary`` parameter of a Content-Type as it is written; empty if there is none."""
    for found in _found(value):
        if found[1].lower() == b"boundary":
            return _written(found).rstrip()
    return parameters(value).get("boundary", "").encode()


def parameters(value: bytes, charset: str = "") -> Mapping[str, str]:
    """Return the decoded parameters of a field by their names in lower case. ``charset`` is likely for undeclared
    bytes.

    Of a parameter that is there twice the first counts; ``name*`` counts before ``name``, whose value then is for older
    programs.
    """
    return (_remembered if len(value) <= _SHORT else _read)(value, charset)


def _read(value: bytes, charset: str) -> Mapping[str, str]:
    plain: dict[str, bytes] = {}
    sections: dict[str, dict[int, tuple[bool, bytes]]] = {}
    for found in _found(value):
        written = _written(found)
        name, number, star = _section(found[1])
        if number is None and not star:
            plain.setdefault(name, written)
        else:
            sections.setdefault(name, {}).setdefault(number or 0, (star, written))
    values = {name: _plain(written, charset) for name, written in plain.items()}
    values |= {name: _joined(pieces, charset) for name, pieces in sections.items()}
    return MappingProxyType(values)


_remembered = lru_cache(maxsize=256)(_read)
"""Most mails have the same few values."""


def _found(value: bytes) -> Iterator[re.Match[bytes]]:
    """Find the parameters. Some senders leave out the semicolon before the first one."""
    return islice(_PARAMETER.finditer(b";" + _FIRST.sub(b"", value[:LONGEST], count=1)), MOST)


def _written(found: re.Match[bytes]) -> bytes:
    quoted: bytes | None = found[2]
    return found[3].strip() if quoted is None else _ESCAPED.sub(rb"\1", quoted)


def _section(name: bytes) -> tuple[str, int | None, bool]:
    """Return ``("filename", 0, True)`` for ``filename*0*``."""
    found = _SECTION.fullmatch(name.decode("ascii", "replace").lower())
    assert found is not None  # every name matches
    return found[1], int(found[2]) if found[2] else None, bool(found[3])


def _plain(written: bytes, charset: str) -> str:
    """Decode a value that should be ASCII, and in which senders put encoded words, other bytes or an extended value."""
    if written.isascii() and b"=?" not in written and b"'" not in written:
        return one_line(written.decode())
    if _CHARSET.match(written) and b"%" in written:
        return _joined({0: (True, written)}, charset)
    return text_of(written, charset)


def _joined(pieces: dict[int, tuple[bool, bytes]], charset: str) -> str:
    """Join the sections of a value as bytes and decode them: a character may be cut in two by a section's end."""
    ordered = [pieces[number] for number in sorted(pieces)]
    extended, start = ordered[0]
    prefix = _CHARSET.match(start) if extended else None
    if prefix:
        ordered[0] = (True, start[prefix.end() :])
    raw = b"".join(unquote_to_bytes(piece) if star else piece for star, piece in ordered)
    if any(star for star, _ in ordered):
        return one_line(decode_text(raw, prefix[1].decode() if prefix else "", charset))
    return text_of(raw, charset)
