"""Reads what a bounce says: who did not get which mail, and why (RFC 3464, and mail servers older than it)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from protocols.mail.headers import parse_headers
from protocols.mail.message.address import Address, addresses
from protocols.mail.message.fields import Fields

LONGEST = 64 * 1024
"""Bytes of a report, and of a text, that are read."""
_MOST_RECIPIENTS = 100
_ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")
"""RFC 3464, 2.3.3."""

_BLANK_LINE = re.compile(rb"\r?\n[ \t]*\r?\n")
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_FAILURE = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.])")
"""The same in a text, in which 2.1.39 is a version of the mail server."""
_CODE = re.compile(r"(?<![\d.])([45])[0-5]\d[\s-]")
_LOCAL = r"[\w!#$%&*+/?^`{|}~.-]"
_ADDRESS = re.compile(rf"(?<!{_LOCAL}){_LOCAL}{{1,255}}+@[a-z0-9.-]{{1,255}}", re.ASCII | re.IGNORECASE)
"""It is looked for at the beginning of a word only: at each letter of a long word it would take 255 times as long."""
_BEGINS = re.compile(rf"^[ \t]{{0,20}}<?({_ADDRESS.pattern})[>:\s]", re.ASCII | re.IGNORECASE | re.MULTILINE)
_SAID = re.compile(r"^(.{0,200}(?<![\d.])[45]\d\d[ -](?:[45]\.\d{1,3}\.\d{1,3} )?[A-Za-z].{0,500})$", re.MULTILINE)
_MESSAGE_ID = re.compile(r"^[ \t>]{0,9}Message-ID:\s{0,9}(<[^<>\s]{1,998}>)", re.IGNORECASE | re.MULTILINE)
_DELAYED = re.compile(
    r"delayed|not yet been delivered|will (?:be retried|keep trying)|noch nicht zugestellt|retardé|verzöger|задерж",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Bounce:
    """What a mail server says about a mail that was sent to ``recipient``."""

    recipient: str
    """The address as the mail was sent to it, if the report says so; empty if it is not known."""
    action: str
    """``failed``, ``delayed``, ``delivered``, ``relayed`` or ``expanded`` (RFC 3464, 2.3.3): only the first means that
    the mail is lost."""
    status: str
    """An enhanced status code (RFC 3463), such as ``5.1.1``; empty if it is not known."""
    message_id: str
    """The Message-ID of the mail that was sent, with its brackets; empty if it is not known."""
    diagnostic: str
    """The sentence of the server that refused the mail; empty if there is none."""


def read_bounce(
    fields: Fields, reports: Sequence[bytes], returned: Fields | None, text: str, own: Iterable[str]
) -> Bounce:
    """Return what is known. ``reports`` are the bodies of ``message/delivery-status`` parts; ``returned`` is the header
    of the mail that was sent; ``own`` are addresses that are not the recipient."""
    said = _worst([group for report in reports for group in _groups(report)])
    text = text[:LONGEST]
    recipient = said.recipient or _recipient(fields, returned, text, own)
    status = said.status or _status(said.diagnostic) or _status(text)
    return Bounce(
        recipient=recipient,
        action=said.action
        or ("delayed" if status.startswith("4") or (not status and _DELAYED.search(text)) else "failed"),
        status=status,
        message_id=_message_id(returned, text),
        diagnostic=said.diagnostic or _diagnostic(text),
    )


def _worst(said: list[Bounce]) -> Bounce:
    """Return what is said of the first recipient for whom the mail is lost, else of the first one."""
    failed = (each for each in said if each.action == "failed")
    return next(failed, said[0] if said else Bounce("", "", "", "", ""))


def _groups(report: bytes) -> Iterator[Bounce]:
    """Yield what each group of fields says that names a recipient."""
    for group in _BLANK_LINE.split(report[:LONGEST].strip(), _MOST_RECIPIENTS):
        fields = Fields(parse_headers(group))
        recipient = _typed(fields, "original-recipient") or _typed(fields, "final-recipient")
        if recipient or "action" in fields:
            status = _STATUS.search(fields.get("status", ""))
            diagnostic = fields.get("diagnostic-code", "")
            diagnostic = diagnostic.partition(";")[2].strip() or diagnostic
            yield Bounce(recipient, _action(fields.word("action")), status[1] if status else "", "", diagnostic)


def _action(word: str) -> str:
    """Return the action; some mail servers write ``failure`` or ``error``."""
    return word if word in _ACTIONS or not word else "failed"


def _typed(fields: Fields, name: str) -> str:
    """Return the address of ``rfc822; ann@example.org``."""
    value = fields.raw(name)
    found = addresses(value.partition(b";")[2] or value)
    return str(found[0]) if found else ""


def _recipient(fields: Fields, returned: Fields | None, text: str, own: Iterable[str]) -> str:
    """Return the address that a bounce without a report names: in X-Failed-Recipients, in the mail that it returns, or
    as the first one in its text that is not ours."""
    failed = fields.addresses("x-failed-recipients")
    if failed:
        return str(failed[0])
    sent_to = [*returned.addresses("to"), *returned.addresses("cc")] if returned else []
    not_theirs = {address.lower() for address in _not_recipients(fields, returned, own)}
    named = [address.strip(".") for address in _named(text)]
    likely = [address for address in named if address.lower() not in not_theirs and not _is_server(address)]
    as_written, in_lower_case = set(likely), {address.lower() for address in likely}
    both = [address for address in sent_to if address.lower() in in_lower_case]
    listed = [address for address in _BEGINS.findall(text) if address in as_written]
    best = both or listed or (sent_to if len(sent_to) == 1 else likely)
    return str(Address(best[0])) if best else ""


def _not_recipients(fields: Fields, returned: Fields | None, own: Iterable[str]) -> Iterator[str]:
    """Yield addresses that cannot be the one that failed: ours, and those of the mail's author."""
    yield from own
    for name in ("to", "from", "sender"):
        yield from fields.addresses(name)
    for name in ("from", "sender", "return-path", "errors-to"):
        yield from returned.addresses(name) if returned else ()


def _named(text: str) -> Iterator[str]:
    """Yield the addresses in ``text``: first those with which a line begins, as most mail servers write the ones that
    failed."""
    yield from _BEGINS.findall(text)
    yield from _ADDRESS.findall(text)


def _is_server(address: str) -> bool:
    return address.partition("@")[0].lower() in ("postmaster", "mailer-daemon")


def _message_id(returned: Fields | None, text: str) -> str:
    found = returned.ids("message-id") if returned else ()
    if found:
        return found[0]
    in_text = _MESSAGE_ID.search(text)
    return in_text[1] if in_text else ""


def _diagnostic(text: str) -> str:
    """Return the first line of a text that quotes an SMTP server with its code (``550 5.1.1 User unknown``)."""
    found = _SAID.search(text)
    return found[1].strip() if found else ""


def _status(text: str) -> str:
    enhanced = _FAILURE.search(text)
    if enhanced:
        return enhanced[1]
    code = _CODE.search(text)
    return f"{code[1]}.0.0" if code else ""
