"""Finds the recipients of a message in a mailbox. It has no envelope any more, but its header fields are evidence.

Pure, and linear in the size of the header, whatever is in it.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from protocols.mail.addresses import check_address
from protocols.mail.headers import Headers, first

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

# The bounds keep the search linear if a quotation or comment never ends.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.){0,256}"')
_COMMENT = re.compile(r"\([^()]{0,256}\)")
_WORD = re.compile(r"[^\s<>,;:()\"]+")
_SEPARATOR = re.compile(r"[,;:]")
_FOR = re.compile(rb"\sfor\s+<?([^\s<>;@]{1,64}@[^\s<>;@]{1,255})>?")


def addresses(value: bytes) -> list[str]:
    """Return the valid addresses in a field such as To, in order; domains are in lower case, display names left out."""
    text = _COMMENT.sub(" ", _QUOTED.sub(" ", value.decode("utf-8", "replace")))
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


def evidence(headers: Headers, *, recipient_header: str | None = None, username: str = "") -> list[list[str]]:
    """Return lists of candidate addresses, the best evidence first.

    If ``recipient_header`` is given, no other header field counts. The login name, if it is an address, is the last
    resort.
    """
    if recipient_header is not None:
        tiers = [_fields(headers, (recipient_header.lower().encode(),))]
    else:
        there = {name for name, _ in headers}  # few messages have more than two of them
        tiers = [_fields(headers, names) for names in _ENVELOPE if not there.isdisjoint(names)]
        tiers.append(_received_for(headers))
        tiers += [_fields(headers, names) for names in _AUTHOR if not there.isdisjoint(names)]
    tiers.append(_valid([username] if "@" in username else []))
    return [tier for tier in tiers if tier]


def _fields(headers: Headers, names: Sequence[bytes]) -> list[str]:
    return _valid(address for name, value in headers if name in names for address in addresses(value))


def _received_for(headers: Headers) -> list[str]:
    values = (_FOR.search(value) for name, value in headers if name == b"received")
    return _valid(match[1].decode("utf-8", "replace") for match in values if match)


def choose(tiers: Iterable[list[str]], takes: Callable[[str], bool]) -> list[str]:
    """Return the addresses that ``takes`` accepts, from the best evidence that has such an address; else none.

    Worse evidence adds nothing: an address in Cc has its own copy of the message elsewhere.
    """
    for tier in tiers:
        if taken := [address for address in tier if takes(address)]:
            return taken
    return []


def sender(headers: Headers) -> str:
    """Return the envelope's sender if the delivering server recorded it (Return-Path; empty for a bounce), otherwise
    the author's address."""
    path = first(headers, b"return-path")
    if path is not None:
        return next(iter(addresses(path)), "")
    fields = (addresses(first(headers, name) or b"") for name in (b"sender", b"from"))
    return next((found[0] for found in fields if found), "")
