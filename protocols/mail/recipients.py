"""The recipients of a message, each with the source that names it.

Over SMTP and LMTP that is the envelope. A message in a mailbox has none any more, but its header fields are evidence.

Pure, and linear in the size of the header, whatever is in it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from protocols.asgi import EmailScope, Recipient
from protocols.mail.addresses import DELIMITER, check_address, tag_of
from protocols.mail.headers import Headers

MAX_CANDIDATES = 1000
"""Addresses of one piece of evidence that are read."""

# Best first. X-Original-To is Postfix's recipient before aliases; X-Gm-Original-To and X-Forwarded-To are Google's;
# Envelope-To is Exim's; X-Delivered-To is Fastmail's; Delivered-To may be the mailbox's own name behind an alias.
_ENVELOPE = (
    (b"x-original-to",),
    (b"x-gm-original-to",),
    (b"x-forwarded-to",),
    (b"envelope-to", b"x-envelope-to"),
    (b"x-delivered-to",),
    (b"delivered-to",),
)
# Fields of the author, who may write anything here; with Bcc and lists they do not name the recipient.
_AUTHOR = ((b"resent-to", b"resent-cc"), (b"to", b"cc"))
_BY_SERVERS = frozenset(name for names in _ENVELOPE for name in names)

# The bounds keep the search linear if a quotation or comment never ends.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.){0,256}"')
_COMMENT = re.compile(r"\([^()]{0,256}\)")
_WORD = re.compile(r"[^\s<>,;:()\"]+")
_ONE = re.compile(r'(?:[^"(),:;<>@]*<)?([^"(),:;<>@\s]+@[^"(),:;<>@\s]+)>?')
"""A field with one address, with or without a name before it, as most have: it need not be taken apart."""
_SEPARATOR = re.compile(r"[,;:]")
_FOR = re.compile(rb"\sfor\s+<?([^\s<>;@]{1,2000}@[^\s<>;@]{1,255})>?")

ENVELOPE = "envelope"
"""The source of a recipient that a RCPT command named."""
LOGIN = "login"
"""The source of a recipient that is the login name of the mailbox."""

Tier = list[Recipient]
"""Candidates that one piece of evidence names."""


def recipient(address: str, source: str = ENVELOPE, delimiters: str = DELIMITER) -> Recipient:
    """Return a checked address as the scope has it. ``delimiters``: the characters that may begin a tag."""
    return {"address": address, "source": source, "tag": tag_of(address, delimiters)}


def address_to(scope: EmailScope, recipients: Sequence[Recipient]) -> None:
    """Put ``recipients`` into ``scope``."""
    scope["rcpt_to"] = [each["address"] for each in recipients]
    scope["recipients"] = [*recipients]


def addresses(value: bytes) -> list[str]:
    """Return the valid addresses in a field such as To, in order; domains are in lower case, display names left out."""
    if b"@" not in value:
        return []
    text = value.decode("utf-8", "replace")
    if one := _ONE.fullmatch(text):
        return _valid(one.groups())
    text = _COMMENT.sub(" ", _QUOTED.sub(" ", text))
    entries = map(_without_name, _SEPARATOR.split(text))
    return _valid(match[0] for entry in entries for match in _WORD.finditer(entry) if "@" in match[0])


def _without_name(entry: str) -> str:
    """Return ``bob@example.org`` for ``ann@example.org <bob@example.org>``: a display name may look like an address."""
    _, _, rest = entry.partition("<")
    return rest if "@" in rest.partition(">")[0] else entry


def _valid(candidates: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for candidate in candidates:
        if len(found) >= MAX_CANDIDATES:
            break
        try:
            found[check_address(candidate)] = None
        except ValueError:
            continue
    return list(found)


def evidence(
    headers: Headers, *, recipient_header: str | None = None, username: str = "", delimiters: str = DELIMITER
) -> Iterator[Tier]:
    """Yield lists of candidates, the best evidence first. The source of each is the name of its header field.

    If ``recipient_header`` is given, no other header field counts. The login name, if it is an address, is the last
    resort. What comes after the evidence that is taken is not read.
    """
    for tier in _evidence(headers, recipient_header):
        if tier:
            yield [recipient(*each, delimiters) for each in tier.items()]
    if "@" in username:
        yield from ([recipient(address, LOGIN, delimiters)] for address in _valid([username]))


def _evidence(headers: Headers, recipient_header: str | None) -> Iterator[dict[str, str]]:
    """Yield address -> source, for each kind of evidence."""
    if recipient_header is not None:
        yield _fields(headers, (recipient_header.lower().encode(),))
        return
    there = {name for name, _ in headers}  # few messages have more than two of them
    if not there.isdisjoint(_BY_SERVERS):
        yield from (_fields(headers, names) for names in _ENVELOPE if not there.isdisjoint(names))
    if b"received" in there:
        yield dict.fromkeys(_received_for(headers), "received")
    yield from (_fields(headers, names) for names in _AUTHOR if not there.isdisjoint(names))


def _fields(headers: Headers, names: Sequence[bytes]) -> dict[str, str]:
    """Return address -> the name of the first field that has it, in order; at most MAX_CANDIDATES."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name in names and len(found) < MAX_CANDIDATES:
            found |= {each: name.decode("ascii") for each in addresses(value) if each not in found}
    return dict(islice(found.items(), MAX_CANDIDATES))


def _received_for(headers: Headers) -> list[str]:
    values = (_FOR.search(value) for name, value in headers if name == b"received")
    return _valid(match[1].decode("utf-8", "replace") for match in values if match)


def choose(tiers: Iterable[Tier], takes: Callable[[Recipient], bool]) -> Tier:
    """Return the candidates that ``takes`` accepts, from the best evidence that has such an address; else none.

    Worse evidence adds nothing: an address in Cc has its own copy of the message elsewhere.
    """
    for tier in tiers:
        if taken := [candidate for candidate in tier if takes(candidate)]:
            return taken
    return []


def sender(headers: Headers) -> str:
    """Return the envelope's sender if the delivering server recorded it (Return-Path; empty for a bounce), otherwise
    the author's address."""
    topmost = dict(reversed(headers))
    path = topmost.get(b"return-path")
    if path is not None:
        return next(iter(addresses(path)), "")
    fields = (addresses(topmost.get(name, b"")) for name in (b"sender", b"from"))
    return next((found[0] for found in fields if found), "")
