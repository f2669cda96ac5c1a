"""A mail as its handler reads it: text, attachments, addresses, and what kind of mail it is.

* :mod:`~protocols.mail.message.inbound`: :class:`InboundEmail`, of which each attribute is read when it is asked for.
* :mod:`~protocols.mail.message.fields`: the header fields; :mod:`~protocols.mail.message.address`: addresses in them.
* :mod:`~protocols.mail.message.body`: which parts are shown, and which are attachments.
* :mod:`~protocols.mail.message.attachment`: attachments; :mod:`~protocols.mail.message.calendar`: invitations.
* :mod:`~protocols.mail.message.html_to_text`, written by :mod:`~protocols.mail.message.text_writer` within
  :mod:`~protocols.mail.message.html_bounds`; :mod:`~protocols.mail.message.text_to_html`;
  :mod:`~protocols.mail.message.safe_html`.
* :mod:`~protocols.mail.message.reply_text`: what the sender wrote now.
* :mod:`~protocols.mail.message.kind`, by the words of :mod:`~protocols.mail.message.signs`;
  :mod:`~protocols.mail.message.bounce`, :mod:`~protocols.mail.message.spam`,
  :mod:`~protocols.mail.message.protection`.
* :mod:`~protocols.mail.message.stdlib`: the standard library's message.
"""

from protocols.mail.message.address import Address
from protocols.mail.message.attachment import Attachment
from protocols.mail.message.bounce import Bounce
from protocols.mail.message.calendar import Invitation
from protocols.mail.message.fields import Fields
from protocols.mail.message.inbound import InboundEmail
from protocols.mail.message.kind import Kind
from protocols.mail.message.spam import Spam

__all__ = ["Address", "Attachment", "Bounce", "Fields", "InboundEmail", "Invitation", "Kind", "Spam"]
