"""Passes a received mail on, so that it cannot go in a circle."""

from collections.abc import Collection, Iterable
from email.utils import format_datetime

from protocols.mail.compose.answer import is_ours, prefixed
from protocols.mail.message import Address, InboundEmail

LOOP = "X-Loop"
"""The field with the addresses that have forwarded a mail, the last first. Servers that forward the mail again leave it
in place."""
MOST_MARKS = 20
"""Addresses in that field that are carried on."""
_LONGEST_FIELD = 10_000


def was_forwarded_by(own: Collection[str], headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether one of the addresses ``own`` has forwarded the mail with these header fields, names in small letters."""
    return any(is_ours(mark, own) for mark in _marks(headers))


def loop_marks(own: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the value of X-Loop for a mail that ``own`` forwards: with the addresses that have forwarded it before, so
    that two that forward to each other do so once."""
    before = [mark for mark in _marks(headers) if "@" in mark and mark.isascii() and mark.isprintable()]
    return ", ".join(dict.fromkeys([own, *before[:MOST_MARKS]]))


def _marks(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    values = b" ".join(value[:_LONGEST_FIELD] for name, value in headers if name == LOOP.lower().encode())
    return [mark.strip("<>,;") for mark in values[:_LONGEST_FIELD].decode("utf-8", "replace").replace(",", " ").split()]


def forward_subject(subject: str) -> str:
    """Return the subject of a forwarded mail."""
    return prefixed("Fwd:", subject)


def introduced(text: str, mail: InboundEmail) -> str:
    """Return ``text``, and below it the text of ``mail`` with a few of its header fields, as mail programs do."""
    named = [
        ("From", _people(mail.from_)),
        ("Date", format_datetime(mail.date) if mail.date else ""),
        ("Subject", mail.subject),
        ("To", _people(mail.to)),
    ]
    head = [f"{name}: {value}" for name, value in named if value]
    above = [text.rstrip("\r\n"), ""] if text else []
    return "\n".join([*above, "---------- Forwarded message ----------", *head, "", mail.text])


def _people(addresses: Iterable[Address]) -> str:
    return ", ".join(address.formatted for address in addresses)
