"""Sends the mail of applications: through a submission server, or into a folder during development.

* ``interface``: what every way to send mail is called by.
* ``settings``: what the file says about it.
* ``commands``: a mail as the commands of one SMTP transaction. Pure.
* ``connection``: one connection to the server, and transactions over it, with an answer for each recipient.
* ``login``: opens connections: TLS and the login.
* ``pool``: keeps connections open for the next mail.
* ``smtp``: sends by a submission server.
* ``maildir``: writes into a folder instead.
* ``signing``: signs with DKIM before that.
* ``seven_bit``: turns a message into ASCII, for servers that need it, and for signatures. Pure.
"""

from urllib.parse import urlsplit

from protocols.mail.submission.interface import Submission
from protocols.mail.submission.login import PORTS
from protocols.mail.submission.maildir import MaildirSubmission
from protocols.mail.submission.settings import SubmissionSettings
from protocols.mail.submission.signing import SignedSubmission
from protocols.mail.submission.smtp import SMTPSubmission

__all__ = ["MaildirSubmission", "SMTPSubmission", "Submission", "SubmissionSettings", "open_submission"]


def open_submission(settings: SubmissionSettings) -> Submission:
    """Return what sends mail by ``settings``, without connecting. Raises ValueError, with one sentence, if the URL is
    wrong, or a key cannot sign."""
    opened = _open(settings)
    return SignedSubmission(opened, settings.dkim) if settings.dkim else opened


def _open(settings: SubmissionSettings) -> Submission:
    url = urlsplit(settings.url)
    if url.scheme == "file" and url.path and not url.netloc:
        return MaildirSubmission(url.path)
    if url.scheme in PORTS and url.hostname and not (url.username or url.password):
        _check_host(url.hostname)
        return SMTPSubmission(settings)
    raise ValueError("write smtp://host:587, smtps://host:465 or file:directory; the login has keys of its own")


def _check_host(host: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError(f"{host} is not a host name; write smtp://mail.example.org:587") from None
