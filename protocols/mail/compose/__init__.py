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

from typing import TYPE_CHECKING

from protocols.lazy_names import lazy_names

if TYPE_CHECKING:
    from protocols.mail.compose.attachment import Attachable as Attachable
    from protocols.mail.compose.attachment import Content as Content
    from protocols.mail.compose.attachment import Openable as Openable
    from protocols.mail.compose.attachment import Readable as Readable
    from protocols.mail.compose.content import Part as Part
    from protocols.mail.compose.mail import Draft as Draft
    from protocols.mail.compose.mail import Mail as Mail
    from protocols.mail.compose.mail import compose as compose
    from protocols.mail.compose.mailbox import Addresses as Addresses
else:
    __all__, __getattr__ = lazy_names(
        __name__,
        {
            "protocols.mail.compose.attachment": ("Attachable", "Content", "Openable", "Readable"),
            "protocols.mail.compose.content": ("Part",),
            "protocols.mail.compose.mail": ("Draft", "Mail", "compose"),
            "protocols.mail.compose.mailbox": ("Addresses",),
        },
    )
