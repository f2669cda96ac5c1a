"""Passes a received mail on, so that it cannot go in a circle."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Protocol

from protocols.mail.compose.answer import is_ours, prefixed

LOOP = "X-Loop"
"""The field with the address that has forwarded a mail. Servers that forward the mail again leave it in place."""


class Forwardable(Protocol):
    """What a received mail says about itself. See :class:`protocols.mail.message.InboundEmail`."""

    @property
    def from_(self) -> Sequence[str]: ...
    @property
    def to(self) -> Sequence[str]: ...
    @property
    def date(self) -> datetime | None: ...
    @property
    def subject(self) -> str: ...
    @property
    def text(self) -> str: ...


def was_forwarded_by(own: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the mail with these header fields, names in small letters, has been forwarded by the address ``own``."""
    marks = (value.decode("utf-8", "replace").strip() for name, value in headers if name == LOOP.lower().encode())
    return any(is_ours(mark, [own]) for mark in marks)


def forward_subject(subject: str) -> str:
    """Return the subject of a forwarded mail."""
    return prefixed("Fwd:", subject)


def introduced(text: str, mail: Forwardable) -> str:
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


def _people(addresses: Iterable[str]) -> str:
    return ", ".join(getattr(address, "formatted", address) for address in addresses)
