"""What an application may send in an ``email`` scope. Pure; see :mod:`protocols.events`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from protocols.asgi import DSNRequest, EmailAcceptEvent, EmailDeferEvent, EmailRejectEvent, EmailSendEvent
from protocols.errors import LocalProtocolError
from protocols.events import Event, as_bytes, one_line, retry_after, shown, waits, wrong
from protocols.mail.addresses import check_address
from protocols.mail.headers import parse_headers
from protocols.mail.line_ends import with_crlf

SENDS = {
    "open": dict.fromkeys(("email.send", "email.accept", "email.reject", "email.defer"), "open"),
}
"""One state: :class:`~protocols.mail.verdict.Verdicts` sees to it that each recipient has one verdict at most."""

LONGEST_MESSAGE = 150 * 1024 * 1024
"""Bytes of a message at most: no mail service takes more, and a store keeps it in one piece."""

_CONDITIONS = ("success", "failure", "delay")
"""RFC 3461 4.1."""

# RFC 5322 3.6: fields that occur at most once. An injected line break makes a second one.
_ONCE = frozenset(b"from sender reply-to to cc bcc subject date message-id in-reply-to references".split())
_BLIND = re.compile(rb"^(?:resent-)?bcc[ \t]*:.*\n(?:[ \t].*\n)*", re.IGNORECASE | re.MULTILINE)


_Verdict = TypeVar("_Verdict", EmailAcceptEvent, EmailRejectEvent, EmailDeferEvent)


def accept(event: Event) -> EmailAcceptEvent:
    clean: EmailAcceptEvent = {"type": "email.accept"}
    if event.get("failed"):
        clean["failed"] = True
    return _for_some(event, clean)


def reject(event: Event) -> EmailRejectEvent:
    code = event.get("code", 550)
    if not isinstance(code, int) or not 500 <= code <= 599:
        raise wrong(event, "code", "an integer from 500 to 599, SMTP's refusals; defer asks for another try")
    clean: EmailRejectEvent = {"type": "email.reject", "code": int(code), "reason": one_line(event, "reason")}
    return _for_some(event, clean)


def defer(event: Event) -> EmailDeferEvent:
    wait = retry_after(event)
    clean: EmailDeferEvent = {"type": "email.defer", "reason": one_line(event, "reason")}
    if wait is not None:
        clean["retry_after"] = wait
    return _for_some(event, clean)


def _for_some(event: Event, clean: _Verdict) -> _Verdict:
    """Add the recipients that the verdict is for, if it names any."""
    recipients = event.get("rcpt_to")
    if recipients is None:
        return clean
    if not isinstance(recipients, list | tuple) or not all(isinstance(each, str) for each in recipients or (None,)):
        raise wrong(event, "rcpt_to", "a list of recipients of the scope, or leave it out")
    clean["rcpt_to"] = list(dict.fromkeys(recipients))
    return clean


def send_event(mail_from: str, rcpt_to: Sequence[str], message: bytes) -> EmailSendEvent:
    """Return the event for code that has a mail and no scope. It is not checked."""
    return {"type": "email.send", "mail_from": mail_from, "rcpt_to": list(rcpt_to), "message": message}


def send(event: Event) -> EmailSendEvent:
    """Return the event with CRLF line ends, with each recipient once, and without Bcc fields in its message."""
    sender, recipients = event["mail_from"], event["rcpt_to"]
    if not isinstance(recipients, list | tuple) or not recipients:
        raise wrong(event, "rcpt_to", "a list of one or more addresses")
    clean: EmailSendEvent = {
        "type": "email.send",
        "mail_from": "" if sender == "" else _address(sender),
        "rcpt_to": list(dict.fromkeys(map(_address, recipients))),
        "message": _message(event),
    }
    if event.get("dsn") is not None:
        clean["dsn"] = _dsn(event)
    if waits(event):
        clean["wait"] = True
    return clean


CHECKS = {"email.accept": accept, "email.reject": reject, "email.defer": defer, "email.send": send}


def _dsn(event: Event) -> DSNRequest:
    asked, clean = event["dsn"], DSNRequest()
    if not isinstance(asked, Mapping) or not asked.keys() <= {"notify", "ret", "envid"}:
        raise wrong(event, "dsn", "a dict with notify, ret and envid, or some of them")
    if (notify := asked.get("notify")) is not None:
        names = list(notify) if isinstance(notify, list | tuple) else []
        if not names or not (names == ["never"] or all(name in _CONDITIONS for name in names)):
            raise LocalProtocolError('email.send: dsn["notify"] is ["never"], or a list of success, failure and delay')
        clean["notify"] = list(dict.fromkeys(names))
    if (returned := asked.get("ret")) is not None:
        if returned not in ("full", "hdrs"):
            raise LocalProtocolError('email.send: dsn["ret"] is "full" or "hdrs"')
        clean["ret"] = returned
    if (envelope := asked.get("envid")) is not None:
        if not isinstance(envelope, str) or not envelope.isascii() or not envelope.isprintable():
            raise LocalProtocolError('email.send: dsn["envid"] is printable ASCII text')
        clean["envid"] = envelope
    return clean


def _address(given: Any) -> str:
    if not isinstance(given, str):
        raise LocalProtocolError(f"email.send: an address is {shown(given)}; write text")
    try:
        return check_address(given)
    except ValueError as error:
        raise LocalProtocolError(f"email.send: an address is malformed: {error}") from error


def _message(event: Event) -> bytes:
    content = with_crlf(as_bytes(event, "message"))
    if len(content) > LONGEST_MESSAGE:
        raise LocalProtocolError(f"email.send: the message has {len(content)} bytes; {LONGEST_MESSAGE} is the most")
    names = [name for name, _ in parse_headers(content)]
    if not names:
        raise LocalProtocolError("email.send: the message has no header fields")
    twice = sorted({name.decode("ascii") for name in names if name in _ONCE and names.count(name) > 1})
    if twice:
        raise LocalProtocolError(f"email.send: header field more than once: {', '.join(twice)}")
    return _without_bcc(content)


def _without_bcc(content: bytes) -> bytes:
    """Remove Bcc fields, which must not reach the other recipients (RFC 5322 3.6.3): few submission servers do so."""
    end = content.find(b"\r\n\r\n") + 2
    if end > 1 and not _BLIND.search(content, 0, end):
        return content  # as nearly always: no copy of a large message
    head, blank, body = content.partition(b"\r\n\r\n")
    return _BLIND.sub(b"", head + b"\r\n")[:-2] + blank + body
