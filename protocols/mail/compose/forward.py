"""Passes a received mail on, so that it cannot go in a circle."""

from collections.abc import Collection, Iterable
from email.utils import format_datetime

from protocols.mail.compose.answer import is_ours, prefixed
from protocols.mail.message import Address, InboundEmail

LOOP = "X-Loop"
"""The field with the address that has forwarded a mail. Servers that forward the mail again leave it in place."""


def was_forwarded_by(own: Collection[str], headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether one of the addresses ``own`` has forwarded the mail with these header fields, names in small letters."""
    marks = (value.decode("utf-8", "replace").strip() for name, value in headers if name == LOOP.lower().encode())
    return any(is_ours(mark, own) for mark in marks)


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
