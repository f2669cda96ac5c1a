"""Sends the mail of applications: through a submission server, or into a folder during development.

* ``opening``: chooses one of them.
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

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from protocols.mail.submission.interface import Submission as Submission
    from protocols.mail.submission.maildir import MaildirSubmission as MaildirSubmission
    from protocols.mail.submission.opening import open_submission as open_submission
    from protocols.mail.submission.settings import SubmissionSettings as SubmissionSettings
    from protocols.mail.submission.smtp import SMTPSubmission as SMTPSubmission
else:
    __all__, __getattr__ = lazy_names(
        __name__,
        {
            "protocols.mail.submission.interface": ("Submission",),
            "protocols.mail.submission.maildir": ("MaildirSubmission",),
            "protocols.mail.submission.opening": ("open_submission",),
            "protocols.mail.submission.settings": ("SubmissionSettings",),
            "protocols.mail.submission.smtp": ("SMTPSubmission",),
        },
    )
