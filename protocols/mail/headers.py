"""Splits the header block of a message, or of a MIME part, into its fields. Never raises, whatever the bytes.

Only the boundaries of fields are parsed: the standard library's structured parser takes seconds for, or raises at, some
headers of hostile or merely odd senders. What real mails do to a header block is read as its sender meant it: white
space before the colon, stray lines, a separating line with a space in it, an mbox's ``From `` line, CR as the line end.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

MAX_HEADER_BLOCK = 256 * 1024
"""Bytes of the header block that are read."""
MAX_HEADERS = 1000
"""Header lines, after unfolding, that are read."""
MAX_MESSAGE_ID = 998
"""The longest Message-ID: RFC 5322 (2.1.1) allows no more characters in a line."""

_END = re.compile(rb"\n\r?\n")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_FIELD = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:(.*)", re.DOTALL)
_FIELDS = re.compile(rb"^([\x21-\x39\x3b-\x7e]+)[ \t]*:(.*)$", re.MULTILINE)
_LINE = re.compile(rb"[^\n]*(?:\n|\Z)")
_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:")
_BLANK_LINES = re.compile(rb"[\r\n]+")
_SPACES = re.compile(rb"\n[ \t]+\r?(?=\n|\Z)")
_KNOWN = re.compile(
    rb"\n(?:content-[a-z-]+|from|to|b?cc|subject|date|message-id|mime-version|received|return-path"
    rb"|(?:resent|list|arc|x|thread|dkim)-[!-9;-~]+|reply-to|sender|in-reply-to|references|delivered-to|errors-to"
    rb"|authentication-results|received-spf|user-agent|importance|priority|precedence|organi[sz]ation|status"
    rb"|auto-submitted|comments|keywords|lines|newsgroups|path|xref)[ \t]*:",
    re.IGNORECASE,
)
"""Names of fields that tell a header block from text. A stray line is skipped only before one of them."""
_FOLDED_ON = re.compile(rb"[ \t][^\n]*(?:\n[ \t][^\n]*){0,20}" + _KNOWN.pattern, re.IGNORECASE)
"""Folded lines with a field after them: a line of spaces before them is a part of the fold (RFC 5322, 4.2)."""
_MESSAGE_ID = re.compile(r"<[^<>\s\x00-\x20\x7f]+>")

Headers = list[tuple[bytes, bytes]]


class HeaderBlock(NamedTuple):
    """The fields of a header block, the offset at which the body begins, and sentences about what was not read."""

    fields: Headers
    body: int
    defects: Sequence[str]


def parse_headers(message: bytes) -> Headers:
    """Return (name, value) for each header field in order. Names are lower-cased; values are unfolded, but not decoded.

    Only the first 256 KiB and 1,000 lines are read.
    """
    return message_block(lf_ended(message)).fields


def lf_ended(message: bytes) -> bytes:
    """Return ``message`` with LF for every line end if its lines end in a bare CR, or in CR CR LF; otherwise as it is.

    A stray CR in the first line is not taken for its end.
    """
    end = message.find(b"\r")
    if end < 0 or message.startswith(b"\n", end + 1) or message.find(b"\n", 0, end) >= 0:
        return message
    if b"\n" in message[:1000] and not message.startswith(b"\r\n", end + 1):
        return message
    return message.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def message_block(message: bytes, start: int = 0, end: int | None = None) -> HeaderBlock:
    """Return the header block of the message in ``message[start:end]``. Blank lines before it are skipped, and a byte
    order mark, which text editors write."""
    if message.startswith(BOM_UTF8, start):
        start += len(BOM_UTF8)
    elif message.startswith((b"\r", b"\n"), start):
        blank = _BLANK_LINES.match(message, start)
        if blank and _KNOWN.match(b"\n" + message[blank.end() : blank.end() + 80]):
            start = blank.end()
    return header_block(message, start, end)


def header_block(raw: bytes, start: int = 0, end: int | None = None) -> HeaderBlock:
    """Return the header block at the beginning of ``raw[start:end]``, whose lines end in CRLF or LF."""
    end = len(raw) if end is None else end
    if raw.startswith((b"\n", b"\r\n"), start, end):
        return HeaderBlock([], raw.index(b"\n", start) + 1, ())
    separator = _END.search(raw, start, end)
    stop, body = separator.span() if separator else (end, end)
    defects: list[str] = []
    if stop - start > MAX_HEADER_BLOCK:
        stop = max(raw.rfind(b"\n", start, start + MAX_HEADER_BLOCK), start)  # the line that was cut is left out
        defects.append(f"Only the first {MAX_HEADER_BLOCK // 1024} KiB of a header block are read.")
    block = raw[start:stop]
    folded = b"\n " in block or b"\n\t" in block
    lines = _FOLD.sub(b"", block) if folded else block
    line_ends = lines.count(b"\n")
    if line_ends >= MAX_HEADERS:
        lines, line_ends = b"\n".join(lines.split(b"\n", MAX_HEADERS)[:-1]), MAX_HEADERS - 1
        defects.append(f"Only the first {MAX_HEADERS:,} lines of a header block are read.")
    fields = _FIELDS.findall(lines)
    if len(fields) <= line_ends or (folded and _SPACES.search(block)):
        odd, length = _odd_block(block)
        return HeaderBlock(odd, body if length is None else start + length, defects)
    return HeaderBlock([(name.lower(), value.strip(b" \t\r")) for name, value in fields], body, defects)


def _odd_block(block: bytes) -> tuple[Headers, int | None]:
    """Return the fields of a block with lines that are no fields, and where the body begins in it; None: after it.

    A line that may be a delimiter of MIME is never skipped.
    """
    known = max((match.start() for match in _KNOWN.finditer(b"\n" + block)), default=-1)
    fields: list[tuple[bytes, list[bytes]]] = []
    for place, line in _lines(block):
        field = _FIELD.fullmatch(line)
        if not line.strip():
            after = place + len(line)
            if after < len(block) and not (_NAME.match(block, after) or _FOLDED_ON.match(block, after)):
                return _joined(fields), after
        elif line[:1] in b" \t" and fields:
            fields[-1][1].append(line)
        elif field:
            fields.append((field[1].lower(), [field[2]]))
        elif (place > known or line.startswith(b"--")) and not (place == 0 and line.startswith((b"From ", b">From "))):
            return (_joined(fields), place) if known >= 0 else ([], 0)
    return (_joined(fields), None) if fields else ([], 0)


def _lines(block: bytes) -> Iterator[tuple[int, bytes]]:
    lines = islice(_LINE.finditer(block), MAX_HEADER_BLOCK)
    return ((line.start(), line[0]) for line in lines if line[0])


def _joined(fields: list[tuple[bytes, list[bytes]]]) -> Headers:
    return [
        (name, b"".join(line.rstrip(b"\r\n") for line in lines).strip(b" \t\r")) for name, lines in fields[:MAX_HEADERS]
    ]


def first(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of the topmost field called ``name`` (lower case), or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


def message_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the Message-ID with its angle brackets, or None. A malformed one is returned as it is, without control
    characters."""
    value = first(headers, b"message-id")
    if value is None:
        return None
    text = value[:MAX_MESSAGE_ID].decode("utf-8", "replace")
    match = _MESSAGE_ID.search(text)
    return match[0] if match else "".join(filter(str.isprintable, text)).strip() or None
