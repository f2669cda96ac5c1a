"""What a submission server refuses: this message, all of our mail, or only this attempt. Pure.

The first digit of a reply says whether a later attempt may succeed (RFC 5321 4.2.1). The stage of the conversation and
the enhanced status code (RFC 3463) say whether the message or our account is refused.
"""

import re
from collections.abc import Mapping
from typing import Any

import aiosmtplib

from protocols.errors import AccountRefused, NotSent, PermanentFailure

_MESSAGE_STAGES = (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientRefused, aiosmtplib.SMTPDataError)
"""MAIL, RCPT and DATA. An earlier refusal (at the greeting, EHLO, STARTTLS or AUTH) is not about the message."""
_ACCOUNT_CODES = frozenset({503, 530, 534, 535, 538})
"""RFC 4954: authentication is required, too weak, wrong, or needs TLS. Some servers say so at MAIL or RCPT; some say
503, bad sequence of commands, when they want AUTH first."""
_ACCOUNT_STATUS = frozenset(
    {
        "5.4.5",  # the day's limit is used up (Gmail)
        "5.7.8",  # RFC 4954: credentials invalid
        "5.7.9",  # RFC 4954: mechanism too weak
        "5.7.11",  # RFC 4954: encryption required
        "5.7.705",  # Exchange Online: the tenant has sent too much
        "5.7.708",  # Exchange Online: nothing is taken from this address
    }
)
_TOO_MANY_RECIPIENTS = "5.5.3"
_STATUS = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")

Refused = Mapping[str, tuple[int, str]]
"""Recipient -> the code and the text of the answer to RCPT."""


def failure_of(error: Exception, host: str, *, connected: bool) -> NotSent:
    """Return the error to raise when nothing was taken; its sentence begins with ``host``.

    ``connected`` says that there was a connection: then a ValueError is about an address of this message.
    """
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        refused = {each.recipient: (each.code, each.message) for each in error.recipients}
        return refusal_of(refused, host, others_sent=False)
    return _kind_of(error, connected=connected)(f"{host}: {_words(error)}")


def refusal_of(refused: Refused, host: str, *, others_sent: bool) -> NotSent:
    """Return the error to raise when these recipients were refused; the others, if ``others_sent``, have the mail."""
    kinds = {recipient: _recipient_kind(*answer, others_sent) for recipient, answer in refused.items()}
    never = [recipient for recipient, kind in kinds.items() if kind is PermanentFailure]
    later = [recipient for recipient in refused if recipient not in never]
    if not later:
        return PermanentFailure(_sentence(host, never, refused), left={"rcpt_to": never} if others_sent else None)
    dead = PermanentFailure(_sentence(host, never, refused), left={"rcpt_to": never}) if never else None
    kind = AccountRefused if AccountRefused in kinds.values() else NotSent
    left = {"rcpt_to": later} if others_sent or never else None
    return kind(_sentence(host, later, refused), left=left, refused=dead)


def _sentence(host: str, recipients: list[str], refused: Refused) -> str:
    answers: dict[str, list[str]] = {}
    for recipient in recipients:
        code, message = refused[recipient]
        answers.setdefault(f"{code} {_one_line(message)}", []).append(recipient)
    return f"{host} refused " + "; ".join(f"{', '.join(names)}: {answer}" for answer, names in answers.items())


def _kind_of(error: Exception, *, connected: bool) -> type[NotSent]:
    match error:
        case aiosmtplib.SMTPResponseException():
            permanent = PermanentFailure if isinstance(error, _MESSAGE_STAGES) else AccountRefused
            return _code_kind(error.code, error.message, permanent)
        case OSError():  # a certificate that does not verify (ssl.SSLCertVerificationError) is a ValueError, too
            return NotSent
        case aiosmtplib.SMTPNotSupported():  # SMTPUTF8 (RFC 6531 3.5)
            return PermanentFailure
        case ValueError():  # an address that SMTP cannot express; without a connection, the host in our settings
            return PermanentFailure if connected else AccountRefused
        case aiosmtplib.SMTPException() if type(error) is aiosmtplib.SMTPException:  # it has no AUTH, or no STARTTLS
            return AccountRefused
        case _:
            return NotSent


def _recipient_kind(code: int, message: str, others_sent: bool) -> type[NotSent]:
    """552 for RCPT may mean 452, too many recipients (RFC 5321 4.5.3.1.10); the next transaction may take this one."""
    status = _status(message)
    if others_sent and (status == _TOO_MANY_RECIPIENTS or (code == 552 and status is None)):
        return NotSent
    return _code_kind(code, message, PermanentFailure)


def _code_kind(code: int, message: str, permanent: type[NotSent]) -> type[NotSent]:
    if code // 100 != 5:
        return NotSent
    return AccountRefused if code in _ACCOUNT_CODES or _status(message) in _ACCOUNT_STATUS else permanent


def _status(message: str) -> str | None:
    found = _STATUS.match(message)
    return found[1] if found else None


def _words(error: Any) -> str:
    """Return the server's answer for a log line; our login is never in it."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {_one_line(error.message)}"
    return _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(text.split())
