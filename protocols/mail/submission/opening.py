"""Which way to send mail the settings ask for. It is imported when it is chosen."""

from urllib.parse import urlsplit

from protocols.mail.submission.interface import Submission
from protocols.mail.submission.settings import PORTS, SubmissionSettings


def open_submission(settings: SubmissionSettings) -> Submission:
    """Return what sends mail by ``settings``, without connecting. Raises ValueError, with one sentence, if the URL is
    wrong, or a key cannot sign."""
    opened = _open(settings)
    if not settings.dkim:
        return opened
    from protocols.mail.submission.signing import SignedSubmission

    return SignedSubmission(opened, settings.dkim)


def _open(settings: SubmissionSettings) -> Submission:
    url = urlsplit(settings.url)
    if url.scheme == "file" and url.path and not url.netloc:
        from protocols.mail.submission.maildir import MaildirSubmission

        return MaildirSubmission(url.path)
    if url.scheme in PORTS and url.hostname and not (url.username or url.password):
        _check_host(url.hostname)
        from protocols.mail.submission.smtp import SMTPSubmission

        return SMTPSubmission(settings)
    raise ValueError("write smtp://host:587, smtps://host:465 or file:directory; the login has keys of its own")


def _check_host(host: str) -> None:
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError(f"{host} is not a host name; write smtp://mail.example.org:587") from None
