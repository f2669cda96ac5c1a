"""Decides whom an automatic answer goes to, and when there must be none (RFC 3834; RFC 5322, 3.6.2).

A function that says why not returns a few words for the log, which follow ``it``; empty if nothing stands against it.
"""

import re
from collections.abc import Collection, Iterable
from typing import Literal

from protocols.mail.compose.mail import message_ids
from protocols.mail.compose.mailbox import is_address, same_address
from protocols.mail.message import InboundEmail

LONGEST_SUBJECT = 500
"""Characters of a subject that an answer repeats."""
MAX_REPLY_TO = 10
"""Addresses of Reply-To that are answered. A field with more of them does not count: one mail would cause many."""

_ROBOT = re.compile(
    r"(mailer-daemon|postmaster|listserv|majordomo|(no|do-?not|donot)[-_.]?reply([-_+.].*)?|bounces?([-_+.=].*)?"
    r"|owner-.*|.*-(request|owner|bounces))@",
    re.IGNORECASE,
)
_SYSTEM = re.compile(r"(mailer-daemon|postmaster)@", re.IGNORECASE)
_RETURN_PATH = re.compile(
    r"(srs[01][-+=]|prvs=|btv1=|msprvs1=|pm_bounces|bounces?([-+_=.]|$)|owner-|return[-+])", re.IGNORECASE
)
"""How local parts begin that mail-sending services and forwarders (SRS, BATV) make: only bounces go there."""
_LIST_RETURN_PATH = re.compile(r"-bounces?([-+]|$)", re.IGNORECASE)
_REFUSES = {"all", "autoreply", "oof"}
"""Words of X-Auto-Response-Suppress (MS-OXCMAIL, 2.2.3.2.14) that refuse an answer."""
_KINDS = {
    "bounce": "is a bounce",
    "report": "is a report",
    "auto-reply": "is automatic itself",
    "list": "is from a list, or in bulk",
    "own": "is our own",
}


def why_unanswerable(mail: InboundEmail, mail_from: str, own: Collection[str]) -> str:
    """Say why nobody may answer ``mail`` automatically. ``own`` are the addresses that it was sent to.

    ``X-Auto-Response-Suppress`` asks for no answer; it does not mean that the mail is automatic.
    """
    if not own:
        return "names none of our addresses"
    if not mail_from:
        return "has the null return path"
    if mail.kind != "person":
        return _KINDS[mail.kind]
    if any(map(_SYSTEM.match, [mail_from, *mail.from_])):
        return "is from a mail system"
    if {word.strip().lower() for word in mail.get("X-Auto-Response-Suppress", "").split(",")} & _REFUSES:
        return "asks for no automatic answer"
    return ""


def addressees(
    mail: InboundEmail, mail_from: str, own: Collection[str], way: Literal["header", "envelope"] = "header"
) -> list[str]:
    """Return the addresses that an answer goes to; none if none of them is a person's.

    ``header``: all of Reply-To, unless one of them is malformed, or all of them are ours; otherwise From; for a mail
    without From, the envelope's sender. ``envelope``: the envelope's sender (RFC 3834, section 4), unless it is made
    for bounces, or From is in another domain. Never Sender.
    """
    if way == "envelope":
        vouched = any(_is_aligned(mail_from, address) for address in mail.from_)
        return _persons([mail_from], own) if vouched and not _is_return_path(mail_from) else []
    asked = mail.reply_to
    if asked and len(asked) <= MAX_REPLY_TO and all(map(is_address, asked)) and (found := _others(asked, own)):
        return _persons(found, own)
    if mail.from_:
        return _persons(mail.from_[:MAX_REPLY_TO], own)
    return [] if _is_return_path(mail_from) else _persons([mail_from], own)


def is_ours(address: str, own: Iterable[str]) -> bool:
    """Whether ``address`` is one of ``own``, with whatever tag."""
    return _base(address) in map(_base, own)


def reply_subject(subject: str) -> str:
    """Return the subject of an answer: with one ``Re:`` in front."""
    return prefixed("Re:", subject)


def thread(mail: InboundEmail) -> list[str]:
    """Return the message ids of the thread, oldest first, the mail's own last (RFC 5322, 3.6.4)."""
    known = message_ids(mail.references) or message_ids(mail.in_reply_to)
    last = message_ids([mail.message_id])
    return [*(each for each in known if each not in last), *last]


def prefixed(prefix: str, subject: str) -> str:
    """Return ``subject`` with ``prefix`` in front, unless it has it already; cut if it is very long."""
    plain = subject[:LONGEST_SUBJECT]
    return plain if plain.lower().startswith(prefix.lower()) else f"{prefix} {plain}".strip()


def _persons(addresses: Iterable[str], own: Collection[str]) -> list[str]:
    return [each for each in _others(addresses, own) if is_address(each) and not _ROBOT.match(each)]


def _others(addresses: Iterable[str], own: Collection[str]) -> list[str]:
    return [each for each in addresses if not is_ours(each, own)]


def _is_return_path(address: str) -> bool:
    """Whether a program made ``address`` for bounces, with the recipient in it (VERP) or a number."""
    local, _, domain = address.rpartition("@")
    _, _, tag = local.replace("+", "-").partition("-")
    made = _RETURN_PATH.match(local) or _LIST_RETURN_PATH.search(local) or "=" in tag
    return bool(made) or f".{domain.lower()}".endswith(".amazonses.com")


def _is_aligned(one: str, other: str) -> bool:
    """Whether both addresses are of one domain, or of one and its subdomain."""
    first, second = (each.rpartition("@")[2].lower() for each in (one, other))
    return first == second or first.endswith(f".{second}") or second.endswith(f".{first}")


def _base(address: str) -> str:
    """Return the address as it is compared: small letters, without a tag."""
    local, at, domain = same_address(address).rpartition("@")
    return f"{local.partition('+')[0]}{at}{domain}"
