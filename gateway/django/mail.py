"""Django's mail through the gateway's outbox: ``EMAIL_BACKEND = "gateway.django.EmailBackend"``."""

from collections.abc import Sequence
from contextvars import ContextVar
from email.utils import parseaddr
from typing import Any

from django.conf import global_settings, settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.module_loading import import_string

from gateway.event_sender import sending
from protocols.asgi import EmailSendEvent
from protocols.mail.addresses import check_address
from protocols.mail.events import send_event
from protocols.unsent import unsent_to

leaving: ContextVar[bool] = ContextVar("leaving", default=False)
"""Whether a mail of the gateway leaves by the project's backend in this context: ``submission: django``."""


class EmailBackend(BaseEmailBackend):
    """In a handler on a route with a policy, mail is committed with the handler's "done" and leaves after it. Elsewhere
    in the gateway's process it is stored when ``send`` returns or, without a store, sent. In another process it is put
    into the gateway's store, which its file names: ``GATEWAY_CONFIG`` in the settings or the environment."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Return the number of messages that were taken; one without recipients is not counted.

        Raises what :meth:`gateway.event_sender.Sender.send` raises, unless ``fail_silently`` is set.
        """
        return sum(self._send(message) for message in email_messages)

    def _send(self, message: EmailMessage) -> bool:
        if not message.recipients():
            return False
        if _is_about_itself(message):
            return False
        if leaving.get():
            raise ImproperlyConfigured("submission: django would send this mail by way of itself")
        event = _event(message)
        try:
            with sending() as sender:
                sender.send(event, wait=not self.fail_silently)
        except Exception:
            if not self.fail_silently:
                raise
            return False
        return True


def _is_about_itself(message: EmailMessage) -> bool:
    """Whether a log handler, such as Django's AdminEmailHandler, tells people of a mail to them that was not sent."""
    failed = unsent_to.get().split(", ") if unsent_to.get() else []
    return any(_checked(str(recipient)) in failed for recipient in message.recipients() if failed)


def _checked(recipient: str) -> str:
    address = parseaddr(recipient)[1]
    try:
        return check_address(address)
    except ValueError:
        return address


def _event(message: EmailMessage) -> EmailSendEvent:
    """Raises Django's BadHeaderError for a header field with a line break."""
    recipients = [parseaddr(str(recipient))[1] for recipient in message.recipients()]
    return send_event(parseaddr(str(message.from_email))[1], recipients, message.message().as_bytes())


def default_from() -> str:
    """Return the project's ``DEFAULT_FROM_EMAIL``, or "" if the project has not set it: replies to Django's own
    default, webmaster@localhost, would be lost."""
    given = str(settings.DEFAULT_FROM_EMAIL) if settings.configured else ""
    return "" if given == global_settings.DEFAULT_FROM_EMAIL else given


def backend_fault(submission: str | None) -> str:
    """Return what is wrong with the project's ``EMAIL_BACKEND``, or nothing. ``submission``: the URL of the file's."""
    name = settings.EMAIL_BACKEND
    try:
        backend: Any = import_string(name)
    except ImportError as error:
        return f"EMAIL_BACKEND {name!r} cannot be imported: {error}" if submission == "django" else ""
    if not (isinstance(backend, type) and issubclass(backend, EmailBackend)):
        return ""
    if submission is None:
        return f"EMAIL_BACKEND is {name!r}, and the file has no submission by which Django's mail could leave"
    if submission == "django":
        return f"EMAIL_BACKEND is {name!r}, which sends by submission: each would send by the other; name a server here"
    return ""


def is_ours(connection: Any) -> bool:
    """Whether an email backend is the gateway's, which must not send by way of itself."""
    return isinstance(connection, EmailBackend)
