"""Sends the gateway's mail by the project's ``EMAIL_BACKEND``: ``submission: django``."""

import asyncio
import email
import email.policy
import smtplib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage, Message
from email.utils import formataddr, getaddresses
from functools import partial
from typing import Any

import aiosmtplib
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend
from django.db import close_old_connections

from gateway.django.mail import is_ours, leaving
from protocols.asgi import DSNRequest
from protocols.errors import AccountRefused, NotSent, PermanentFailure, describe_error
from protocols.mail.refusals import Refused, failure_of, refusal_of

LONGEST = 600.0
"""Seconds after which a backend that has not returned is given up. Its own time limit (``EMAIL_TIMEOUT``) is shorter,
if the settings have one."""
_LONGEST_ERROR = 500
_OUR_ACCOUNT = frozenset({401, 402, 403})
"""Statuses by which a mail service's HTTP interface refuses our key, balance or permission."""
_LATER = frozenset({408, 425, 429})
_STRUCTURE = ("mime-version", "content-", "from", "to", "cc", "bcc", "reply-to", "subject", "return-path")
"""Fields that Django writes itself."""
_NOT_TAKEN = frozenset({"invalid", "rejected", "failed"})
"""What anymail says of a recipient that does not get the mail."""


class DjangoSubmission:
    """Hands each mail to the backend on a thread. A backend of Django's smtp kind sends our bytes as they are; others,
    such as anymail's, compose the mail again from its parts."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None

    async def submit(
        self, mail_from: str, rcpt_to: Sequence[str], message: bytes, *, dsn: DSNRequest | None = None
    ) -> None:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="django mail")
        call = partial(_send, mail_from, list(rcpt_to), message)
        try:
            async with asyncio.timeout(LONGEST):
                await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except TimeoutError:
            raise NotSent(f"{settings.EMAIL_BACKEND} did not return within {LONGEST:g} s") from None

    async def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None


def _send(mail_from: str, rcpt_to: list[str], message: bytes) -> None:
    """Raises NotSent. Called on a thread."""
    leaving.set(True)
    close_old_connections()
    try:
        backend = get_connection()
        if is_ours(backend):
            raise ImproperlyConfigured("EMAIL_BACKEND is the gateway's own, which sends by way of this backend")
        if isinstance(backend, SMTPBackend):
            _send_to_each(backend, mail_from, rcpt_to, message)
        else:
            _hand_over(backend, _read(mail_from, rcpt_to, message))
    except NotSent:
        raise
    except Exception as error:  # whatever a backend raises
        raise _failure(error) from error
    finally:
        close_old_connections()


def _send_to_each(backend: Any, mail_from: str, rcpt_to: list[str], message: bytes) -> None:
    """Django's smtp backend does not say which of several recipients the server has refused: it gets one at a time."""
    refused: dict[str, tuple[int, str]] = {}
    backend.open()
    try:
        for number, recipient in enumerate(rcpt_to):
            try:
                _hand_over(backend, _read(mail_from, [recipient], message))
            except smtplib.SMTPRecipientsRefused as error:
                refused[recipient] = _answer(error, recipient)
            except Exception as error:
                raise _rest(_failure(error), rcpt_to[number:], refused, sent=number > len(refused)) from error
    finally:
        backend.close()
    if refused:
        raise refusal_of(refused, settings.EMAIL_BACKEND, others_sent=len(refused) < len(rcpt_to))


def _answer(error: smtplib.SMTPRecipientsRefused, recipient: str) -> tuple[int, str]:
    """Return the answer for ``recipient``, which a backend may have written in another form."""
    code, text = error.recipients.get(recipient) or next(iter(error.recipients.values()), (0, b""))
    return code, _text(text)


def _rest(error: NotSent, left: list[str], refused: Refused, *, sent: bool) -> NotSent:
    """``error`` for those that did not have their turn, if there are others."""
    if not (sent or refused):
        return error
    earlier = refusal_of(refused, settings.EMAIL_BACKEND, others_sent=True) if refused else NotSent("")
    dead = earlier if isinstance(earlier, PermanentFailure) else earlier.refused
    later = () if dead is earlier else (earlier.left or {}).get("rcpt_to", ())
    return type(error)(str(error), left={"rcpt_to": [*left, *later]}, refused=dead, retry_after=error.retry_after)


def _read(mail_from: str, rcpt_to: Sequence[str], message: bytes) -> "_Mail":
    """Raises PermanentFailure if the standard library cannot read the message: it has errors of its own."""
    try:
        return _Mail(mail_from, rcpt_to, message)
    except Exception as error:
        said = f"{settings.EMAIL_BACKEND}: the message cannot be read: {describe_error(error)[:_LONGEST_ERROR]}"
        raise PermanentFailure(said) from error


def _hand_over(backend: Any, mail: "_Mail") -> None:
    if backend.send_messages([mail]) == 0:  # some return None
        raise NotSent(f"{settings.EMAIL_BACKEND} has not taken it, and does not say why")
    states: Mapping[str, Any] = getattr(getattr(mail, "anymail_status", None), "recipients", None) or {}
    refused = {recipient: str(state.status) for recipient, state in states.items() if state.status in _NOT_TAKEN}
    if refused:
        said = ", ".join(f"{recipient}: {status}" for recipient, status in refused.items())
        left = {"rcpt_to": list(refused)} if len(refused) < len(states) else None
        raise PermanentFailure(f"{settings.EMAIL_BACKEND} refused {said}", left=left)


class _Raw(Message):
    """Our message. It is written as it is, whatever line ends or policy are asked for."""

    raw = b""

    def as_bytes(self, *args: Any, **kwargs: Any) -> bytes:
        return self.raw

    def as_string(self, *args: Any, **kwargs: Any) -> str:
        return self.raw.decode("utf-8", "replace")


class _Mail(EmailMultiAlternatives):
    """A mail as Django's backends take it: whole, from ``message()``, or in parts, from its attributes.

    Django takes the sender of the envelope from ``from_email``. It has no null reverse-path: then it is From.
    """

    def __init__(self, mail_from: str, rcpt_to: Sequence[str], raw: bytes) -> None:
        read: Any = email.message_from_bytes(raw, policy=email.policy.default)
        fields = {name: str(value) for name, value in read.items() if not name.lower().startswith(_STRUCTURE)}
        sender = str(read["From"] or mail_from)
        if mail_from and mail_from not in [address for _, address in getaddresses([sender])]:
            fields["From"], sender = sender, mail_from
        to, cc = _shown(read.get_all("To"), rcpt_to), _shown(read.get_all("Cc"), rcpt_to)
        blind = [each for each in rcpt_to if each not in {*map(_bare, to), *map(_bare, cc)}]
        text, html = _body(read, "plain"), _body(read, "html")
        super().__init__(
            subject=str(read["Subject"] or ""),
            body=text or html,
            from_email=sender,
            to=to,
            bcc=blind,
            headers=fields,
            cc=cc,
            reply_to=_addresses(read.get_all("Reply-To")),
        )
        if not text and html:
            self.content_subtype = "html"
        elif html:
            self.attach_alternative(html, "text/html")
        for part in _attachments(read):
            self.attach(part.get_filename() or "attachment", part.get_payload(decode=True), part.get_content_type())
        self._raw = raw

    def message(self, *, policy: Any = None) -> Any:
        """Return our bytes, whatever ``policy`` says."""
        made = email.message_from_bytes(self._raw, _class=_Raw)
        made.raw = self._raw
        return made


def _body(read: Any, kind: str) -> str:
    part = read.get_body((kind,))
    return "" if part is None else str(part.get_content())


def _attachments(read: EmailMessage) -> Iterable[EmailMessage]:
    """What is not the body: ``iter_attachments`` skips it only at the top."""
    bodies = {id(read.get_body((kind,))) for kind in ("plain", "html")}
    return [part for part in read.walk() if not part.is_multipart() and id(part) not in bodies]


def _addresses(values: Any) -> list[str]:
    return [formataddr(pair) for pair in getaddresses([str(value) for value in values or ()]) if pair[1]]


def _shown(values: Any, rcpt_to: Sequence[str]) -> list[str]:
    """Return the addresses of a field that are recipients: a backend sends to all that it is given."""
    return [address for address in _addresses(values) if _bare(address) in rcpt_to]


def _bare(address: str) -> str:
    return getaddresses([address])[0][1]


_OURS: tuple[tuple[type[smtplib.SMTPResponseException], Any], ...] = (
    (smtplib.SMTPDataError, aiosmtplib.SMTPDataError),
    (smtplib.SMTPAuthenticationError, aiosmtplib.SMTPAuthenticationError),
    (smtplib.SMTPHeloError, aiosmtplib.SMTPHeloError),
    (smtplib.SMTPResponseException, aiosmtplib.SMTPResponseException),
)
"""The standard library's errors, and those that :mod:`protocols.mail.refusals` knows."""


def _failure(error: Exception) -> NotSent:
    """Return the error for the outbox, with the name of the backend before its sentence."""
    name = settings.EMAIL_BACKEND
    match error:
        case NotSent():
            return error
        case smtplib.SMTPRecipientsRefused():
            return refusal_of({each: _answer(error, each) for each in error.recipients}, name, others_sent=False)
        case smtplib.SMTPSenderRefused():
            refused = aiosmtplib.SMTPSenderRefused(error.smtp_code, _text(error.smtp_error), error.sender)
            return failure_of(refused, name, connected=True)
        case smtplib.SMTPResponseException():
            kind = next(ours for theirs, ours in _OURS if isinstance(error, theirs))
            return failure_of(kind(error.smtp_code, _text(error.smtp_error)), name, connected=True)
        case _:
            return _kind_of(error)(f"{name}: {describe_error(error)[:_LONGEST_ERROR]}", retry_after=_retry_after(error))


def _kind_of(error: Exception) -> type[NotSent]:
    status = getattr(error, "status_code", None)  # anymail's, and that of most mail services' own libraries
    match error:
        case ImproperlyConfigured() | ImportError() | smtplib.SMTPNotSupportedError():
            return AccountRefused
        case _ if isinstance(status, int):
            if status in _OUR_ACCOUNT:
                return AccountRefused
            return PermanentFailure if 400 <= status < 500 and status not in _LATER else NotSent
        case OSError():
            return NotSent
        case ValueError() | TypeError():  # of an address, or a feature that the service does not have
            return PermanentFailure
        case _ if type(error).__name__ == "AnymailRecipientsRefused":
            return PermanentFailure
        case _:
            return NotSent


def _retry_after(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    wait = str(headers.get("Retry-After", ""))
    return float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else None


def _text(answer: bytes | str) -> str:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
