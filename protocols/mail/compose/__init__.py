"""Composes outgoing mail from plain values, whatever they are: what leaves is valid. Pure, but for reading attachments.

* :mod:`~protocols.mail.compose.mailbox`: addresses with display names, from text and into header fields.
* :mod:`~protocols.mail.compose.fields`: further header fields.
* :mod:`~protocols.mail.compose.attachment`: files in all the forms in which an application has them.
* :mod:`~protocols.mail.compose.content`: the parts of a mail, in bytes.
* :mod:`~protocols.mail.compose.mail`: the whole mail and its recipients.
* :mod:`~protocols.mail.compose.answer`: where an answer goes, and when there must be none.
* :mod:`~protocols.mail.compose.forward`: passing a mail on.
* :mod:`~protocols.mail.compose.reply_token`: signed ids in Reply-To, by which an answer finds its thread.
"""

from protocols.mail.compose.attachment import Attachable, Content, Openable, Readable
from protocols.mail.compose.content import Part
from protocols.mail.compose.mail import Draft, Mail, compose
from protocols.mail.compose.mailbox import Addresses

__all__ = ["Addresses", "Attachable", "Content", "Draft", "Mail", "Openable", "Part", "Readable", "compose"]
