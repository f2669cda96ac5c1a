"""A mail as its handler reads it: text, attachments, addresses, and what kind of mail it is.

* :mod:`~protocols.mail.message.inbound`: :class:`InboundEmail`, of which each attribute is read when it is asked for.
* :mod:`~protocols.mail.message.fields`: the header fields; :mod:`~protocols.mail.message.address`: addresses in them.
* :mod:`~protocols.mail.message.body`: which parts are shown, and which are attachments.
* :mod:`~protocols.mail.message.attachment`: attachments; :mod:`~protocols.mail.message.calendar`: invitations.
* :mod:`~protocols.mail.message.html_to_text`, written by :mod:`~protocols.mail.message.text_writer` within
  :mod:`~protocols.mail.message.html_bounds`; :mod:`~protocols.mail.message.text_to_html`;
  :mod:`~protocols.mail.message.safe_html`.
* :mod:`~protocols.mail.message.reply_text`: what the sender wrote now.
* :mod:`~protocols.mail.message.kind`, one of :mod:`~protocols.mail.message.kinds`, by the words of
  :mod:`~protocols.mail.message.signs`;
  :mod:`~protocols.mail.message.bounce`, :mod:`~protocols.mail.message.spam`,
  :mod:`~protocols.mail.message.protection`.
* :mod:`~protocols.mail.message.stdlib`: the standard library's message.
"""

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from protocols.mail.message.address import Address as Address
    from protocols.mail.message.attachment import Attachment as Attachment
    from protocols.mail.message.bounce import Bounce as Bounce
    from protocols.mail.message.calendar import Invitation as Invitation
    from protocols.mail.message.fields import Fields as Fields
    from protocols.mail.message.inbound import InboundEmail as InboundEmail
    from protocols.mail.message.kinds import Kind as Kind
    from protocols.mail.message.spam import Spam as Spam
else:
    __all__, __getattr__ = lazy_names(
        __name__,
        {
            "protocols.mail.message.address": ("Address",),
            "protocols.mail.message.attachment": ("Attachment",),
            "protocols.mail.message.bounce": ("Bounce",),
            "protocols.mail.message.calendar": ("Invitation",),
            "protocols.mail.message.fields": ("Fields",),
            "protocols.mail.message.inbound": ("InboundEmail",),
            "protocols.mail.message.kinds": ("Kind",),
            "protocols.mail.message.spam": ("Spam",),
        },
    )
