"""MIME: the raw bytes of a mail to its tree of parts (RFC 2045 to 2047, 2231), as a person's mail program reads it.

Nothing here raises, copies the message, or takes more than linear time, whatever the bytes.

* :mod:`~protocols.mail.mime.opening`: :func:`parse`, from bytes to a :class:`Part`, and what a part contains.
* :mod:`~protocols.mail.mime.tree`: splits one message, by the lines that :mod:`~protocols.mail.mime.delimiters` finds.
* :mod:`~protocols.mail.mime.part`: :class:`Part`, offsets into the message; the rest is read when it is asked for.
* :mod:`~protocols.mail.mime.limits`, :mod:`~protocols.mail.mime.bounds`: how many parts, levels and bytes are read.
* :mod:`~protocols.mail.mime.parameters`: the parameters of Content-Type and Content-Disposition.
* :mod:`~protocols.mail.mime.transfer`: base64, quoted-printable and uuencode, in steps.
* :mod:`~protocols.mail.mime.file_names`: names of attachments that are safe to store.
* :mod:`~protocols.mail.mime.flowed`: joins the lines of ``format=flowed``.
* :mod:`~protocols.mail.mime.uuencode`: files inside text.
* :mod:`~protocols.mail.mime.signed_data`: the content of opaque S/MIME signed data.
* :mod:`~protocols.mail.mime.tnef`: the text and the attachments in Outlook's ``winmail.dat``.
* :mod:`~protocols.mail.mime.rich_text`: the compressed RTF in it.
"""

from protocols.mail.mime.file_names import name_by_type, safe_name, type_by_name, unique_names
from protocols.mail.mime.flowed import unflowed
from protocols.mail.mime.limits import Limits
from protocols.mail.mime.opening import parse
from protocols.mail.mime.part import Part
from protocols.mail.mime.uuencode import UuencodedFile, extract

__all__ = [
    "Limits",
    "Part",
    "UuencodedFile",
    "extract",
    "name_by_type",
    "parse",
    "safe_name",
    "type_by_name",
    "unflowed",
    "unique_names",
]
