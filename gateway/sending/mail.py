"""Writes the mails of ``send_mail``."""

import sys
from dataclasses import replace

from gateway.consumers.answering import answering
from gateway.consumers.mail_writer import written
from gateway.consumers.new_mail import NewMail
from protocols.events import Event
from protocols.mail.compose.mailbox import mailbox


def write(mail: NewMail, *, bounces: bool) -> Event:
    """Write ``mail``. With ``bounces``, those go to the address that it is from."""
    here = answering.get()
    from_ = mail.from_ or here.default_from or _default_from()
    if not from_:
        raise ValueError("send_mail: from_ is missing; write from_=, or submission: {url: ..., default_from: ...}")
    if bounces:
        mail = replace(mail, mail_from=mailbox(from_).address)
    return written(mail.rendered(), from_, tokens=here.tokens).event()


def _default_from() -> str:
    """Return the DEFAULT_FROM_EMAIL of the Django project, if this process has set one up."""
    if "django.conf" not in sys.modules:
        return ""
    from gateway.django.mail import default_from  # imports Django

    return default_from()
