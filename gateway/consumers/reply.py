"""Automatic answers to mail, as RFC 3834 asks for them. Pure."""

import re
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.policy import SMTP
from email.utils import formatdate, make_msgid, parseaddr
from typing import Any

_MESSAGE_ID = re.compile(r"<[^<>\s]{1,900}>")
_ROBOT = re.compile(
    r"^(mailer-daemon|postmaster|no-?reply|do-?not-?reply|owner-.*|.*-request|.*-owner)@", re.IGNORECASE
)
_MAX_REFERENCES = 20
"""The first and the last of a thread; RFC 5322 sets no limit, and header lines do."""


def may_answer(message: Message, mail_from: str) -> bool:
    """Whether an automatic answer to ``message`` is allowed (RFC 3834, section 2).

    ``X-Auto-Response-Suppress`` means "do not answer", it does not mean that the message is automatic.
    """
    suppressed = {word.strip().lower() for word in _text(message, "X-Auto-Response-Suppress").split(",")}
    return bool(
        mail_from
        and not _ROBOT.match(mail_from)
        and _text(message, "Auto-Submitted").lower() in ("", "no")
        and not any(name.lower().startswith("list-") for name in message)
        and _text(message, "Precedence").lower() not in ("bulk", "list", "junk")
        and not suppressed & {"all", "autoreply", "oof"}
    )


def compose(message: Message, scope: Any, text: str, subject: str | None = None) -> tuple[str, bytes]:
    """(recipient, RFC 5322 bytes) of an answer to ``message`` in its thread, from the address it was sent to.

    It goes to the envelope's sender, who is the one that is surely a mailbox (RFC 3834, section 4).
    """
    own, recipient = scope["rcpt_to"][0], scope["mail_from"]
    answer = EmailMessage(policy=SMTP)
    answer["From"] = own
    answer["To"] = recipient
    answer["Subject"] = _one_line(subject) if subject is not None else reply_subject(_text(message, "Subject"))
    answer["Date"] = formatdate()
    answer["Message-ID"] = make_msgid(domain=own.rpartition("@")[2])
    ids = thread(message)
    if ids:
        answer["In-Reply-To"] = ids[-1]
        answer["References"] = " ".join(ids[:1] + ids[1:][-_MAX_REFERENCES:])
    answer["Auto-Submitted"] = "auto-replied"
    answer["X-Auto-Response-Suppress"] = "All"
    answer.set_content(text)
    return recipient, answer.as_bytes()


def thread(message: Message) -> list[str]:
    """The message ids of the thread, oldest first, this message's own last (RFC 5322, section 3.6.4)."""
    known = _MESSAGE_ID.findall(_text(message, "References")) or _MESSAGE_ID.findall(_text(message, "In-Reply-To"))
    return list(dict.fromkeys(known + _MESSAGE_ID.findall(_text(message, "Message-ID"))[:1]))


def reply_subject(subject: str) -> str:
    """``Re:`` once in front of ``subject``, which may be encoded."""
    plain = decoded(subject)
    return plain if plain.lower().startswith("re:") else f"Re: {plain}".strip()


def decoded(value: str) -> str:
    """A header's text, encoded words (RFC 2047) decoded, on one line: they may hide a line break."""
    try:
        return _one_line(str(make_header(decode_header(value))))
    except Exception:  # unknown charsets, broken base64: the raw text is what there is
        return _one_line(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _text(message: Message, name: str) -> str:
    """The first header of that name; compat32 gives a Header object where it holds 8-bit bytes."""
    return str(message.get(name) or "").strip()


def sender_address(message: Message) -> str:
    """The address in From."""
    return parseaddr(_text(message, "From"))[1]
