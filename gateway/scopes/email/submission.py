"""Opens the way by which mail leaves: a submission server, a maildir, or the Django project's own backend."""

from typing import TYPE_CHECKING

from protocols.mail import submission

if TYPE_CHECKING:
    from protocols.mail.submission import Submission, SubmissionSettings
    from protocols.mail.submission.measured import MeasuredSubmission

DJANGO = "django"
"""The URL that stands for the project's ``EMAIL_BACKEND``."""


def measured(submission: "Submission") -> "MeasuredSubmission":
    """Return ``submission`` with counters."""
    from protocols.mail.submission.measured import MeasuredSubmission

    return MeasuredSubmission(submission)


def open_submission(settings: "SubmissionSettings") -> "Submission":
    """Return what sends mail by ``settings``, without connecting. Raises ValueError, with one sentence."""
    if settings.url != DJANGO:
        return submission.open_submission(settings)
    if settings.username is not None or settings.ca is not None or settings.dkim:
        raise ValueError("the project's EMAIL_BACKEND connects and signs by itself; take username, ca and dkim away")
    try:
        from gateway.django.submission import DjangoSubmission
    except ImportError as error:
        raise ValueError("Django is not installed; pip install 'asgi-gateway[django]'") from error
    return DjangoSubmission(settings.max_connections)
