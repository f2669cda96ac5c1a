"""The mails in ``mails/``, and what a person should see in each of them.

``NAME.eml`` is a mail, byte for byte; ``NAME.yaml`` beside it says in one sentence what the mail is about, and what the
reader makes of it. Only what the mail is about is in the file:

* ``mail_from`` and ``rcpt_to`` are the envelope's; without them the mail is from Ada to the support address;
* ``subject``, ``sender``, ``sender_name``, ``from_``, ``to``, ``cc``, ``reply_to``, ``date`` (in UTC), ``message_id``,
  ``in_reply_to``, ``references``, ``text``, ``html``, ``reply_text``, ``kind``, ``encrypted`` and ``signed`` are the
  values of these attributes. White space at the ends of lines does not matter, nor whether there is more than one blank
  line between two others;
* ``_contains`` and ``_lacks`` (lists), ``_starts`` and ``_words`` (white space does not matter) after ``subject``,
  ``text``, ``html`` or ``reply_text`` say less about them;
* ``attachments`` lists all of them, ``has_attachments`` some: the attributes, and the ``sha256`` of the content;
  ``attachment_names`` lists the names. ``name_ends``, ``name_bytes`` (at most), ``names_lack`` and ``unique_names``
  (how many) are about all names, ``attached_subjects`` about the mails among the attachments;
* ``calendar``, ``bounce`` and ``spam`` have the attributes of these; ``diagnostic_contains`` is part of a diagnostic;
* ``headers`` are fields of the header; ``defects`` is true if there must be some, and ``[]`` if there must be none.

All people, shops and domains are invented. To add a mail, write the two files.
"""

import datetime
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from protocols.mail.message import InboundEmail

MAILS = Path(__file__).parent / "mails"
SENDER = "ada@example.org"
RECIPIENT = "support@shop.example"

ENVELOPE = ("about", "mail_from", "rcpt_to")


class Mail:
    """One mail of the corpus."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return str(self.path.relative_to(MAILS).with_suffix(""))

    @cached_property
    def raw(self) -> bytes:
        return self.path.read_bytes()

    @cached_property
    def expected(self) -> dict[str, Any]:
        return yaml.safe_load(self.path.with_suffix(".yaml").read_text("utf-8"))

    @property
    def mail_from(self) -> str:
        return self.expected.get("mail_from", SENDER)

    @property
    def rcpt_to(self) -> list[str]:
        return self.expected.get("rcpt_to", [RECIPIENT])

    def read(self) -> InboundEmail:
        return InboundEmail(self.raw, mail_from=self.mail_from, rcpt_to=self.rcpt_to)

    def differences(self, message: InboundEmail) -> Iterator[str]:
        """Yield each difference between ``message`` and the file beside the mail."""
        for key, wanted in self.expected.items():
            if key not in ENVELOPE:
                yield from (f"{key}: {line}" for line in _differences(message, key, wanted))


def mails() -> list[Mail]:
    return [Mail(path) for path in sorted(MAILS.rglob("*.eml"))]


def _differences(message: InboundEmail, key: str, wanted: Any) -> Iterator[str]:
    if key in _SPECIAL:
        yield from _SPECIAL[key](message, wanted)
    elif key in _VALUES:
        yield from _unequal(_VALUES[key](message), wanted)
    else:
        field, relation = key.rsplit("_", 1)
        seen = _VALUES[field](message)
        yield from (f"{each!r} in {seen!r}" for each in _RELATIONS[relation](seen, wanted))


def _unequal(seen: Any, wanted: Any) -> Iterator[str]:
    if seen != wanted:
        yield f"{seen!r} and not {wanted!r}"


def tidy(text: str) -> str:
    """Return ``text`` without what no reader sees: white space at the ends of lines, and more than one blank line."""
    lines = [line.rstrip() for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _utc(date: Any) -> str | None:
    return date.astimezone(datetime.UTC).isoformat() if date is not None else None


def _addresses(name: str) -> Callable[[InboundEmail], list[str]]:
    return lambda message: [str(each) for each in getattr(message, name)]


_VALUES: dict[str, Callable[[InboundEmail], Any]] = {
    "subject": lambda message: message.subject,
    "sender": lambda message: str(message.sender),
    "sender_name": lambda message: message.sender.name,
    **{name: _addresses(name) for name in ("from_", "to", "cc", "reply_to", "in_reply_to", "references")},
    "date": lambda message: _utc(message.date),
    "message_id": lambda message: message.message_id,
    "text": lambda message: tidy(message.text),
    "html": lambda message: message.html,
    "reply_text": lambda message: tidy(message.reply_text),
    "kind": lambda message: message.kind,
    "encrypted": lambda message: message.encrypted,
    "signed": lambda message: message.signed,
    "attachment_names": lambda message: [each.filename for each in message.attachments],
    "attached_subjects": lambda message: [
        InboundEmail(each.read()).subject for each in message.attachments if each.content_type == "message/rfc822"
    ],
}

_RELATIONS: dict[str, Callable[[str, Any], list[Any]]] = {
    "contains": lambda seen, wanted: [f"not {each}" for each in wanted if each not in seen],
    "lacks": lambda seen, unwanted: [each for each in unwanted if each in seen],
    "starts": lambda seen, wanted: [] if seen.startswith(wanted) else [f"not first {wanted}"],
    "words": lambda seen, wanted: [] if seen.split() == wanted.split() else [f"not {wanted}"],
}


def _attachments(message: InboundEmail, wanted: list[dict[str, Any]]) -> Iterator[str]:
    seen = message.attachments
    if len(seen) != len(wanted):
        yield f"{[each.filename for each in seen]} and not {len(wanted)}"
    for attachment, expected in zip(seen, wanted, strict=False):
        yield from _attributes(attachment, expected)


def _has_attachments(message: InboundEmail, wanted: list[dict[str, Any]]) -> Iterator[str]:
    for expected in wanted:
        if all(list(_attributes(each, expected)) for each in message.attachments):
            yield f"no {expected} in {message.attachments}"


def _calendar(message: InboundEmail, wanted: list[dict[str, Any]]) -> Iterator[str]:
    if len(message.calendar) != len(wanted):
        yield f"{message.calendar} and not {len(wanted)}"
    for invitation, expected in zip(message.calendar, wanted, strict=False):
        yield from _attributes(invitation, expected)


def _one(name: str) -> Callable[[InboundEmail, Any], Iterator[str]]:
    def compare(message: InboundEmail, wanted: dict[str, Any] | None) -> Iterator[str]:
        seen = getattr(message, name)
        if wanted is None or seen is None:
            yield from _unequal(seen, wanted)
        else:
            yield from _attributes(seen, wanted)

    return compare


def _attributes(seen: Any, wanted: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        if name == "diagnostic_contains":
            if value not in seen.diagnostic:
                yield f"diagnostic {seen.diagnostic!r} without {value!r}"
        elif (found := _attribute(seen, name)) != value:
            yield f"{name} {found!r} and not {value!r}"


def _attribute(seen: Any, name: str) -> Any:
    if name == "sha256":
        return hashlib.sha256(seen.read()).hexdigest()
    value = getattr(seen, name)
    if isinstance(value, datetime.datetime):
        return _utc(value)
    if isinstance(value, tuple):
        return [str(each) for each in value]
    return value.strip("<>") if name == "content_id" else value


def _names(test: Callable[[list[str], Any], bool]) -> Callable[[InboundEmail, Any], Iterator[str]]:
    def compare(message: InboundEmail, wanted: Any) -> Iterator[str]:
        names = [each.filename for each in message.attachments]
        if not test(names, wanted):
            yield f"{names} against {wanted}"

    return compare


def _headers(message: InboundEmail, wanted: dict[str, str]) -> Iterator[str]:
    for name, value in wanted.items():
        yield from _unequal(message[name], value)


def _defects(message: InboundEmail, wanted: Any) -> Iterator[str]:
    if bool(message.defects) != bool(wanted):
        yield f"{message.defects}"


_SPECIAL: dict[str, Callable[[InboundEmail, Any], Iterator[str]]] = {
    "attachments": _attachments,
    "has_attachments": _has_attachments,
    "calendar": _calendar,
    "bounce": _one("bounce"),
    "spam": _one("spam"),
    "headers": _headers,
    "defects": _defects,
    "name_ends": _names(lambda names, suffix: all(name.endswith(suffix) for name in names)),
    "name_bytes": _names(lambda names, size: all(len(name.encode()) <= size for name in names)),
    "names_lack": _names(lambda names, unwanted: not set(names) & set(unwanted)),
    "unique_names": _names(lambda names, count: len({name.casefold() for name in names}) == count == len(names)),
}
