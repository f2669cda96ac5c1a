"""The attachments of a mail: decoded when they are read, with names that are safe to store."""

import io
from collections.abc import Iterable
from typing import BinaryIO

from protocols.mail.charsets import decode_text
from protocols.mail.encoded_words import text_of
from protocols.mail.mime import Part, UuencodedFile, name_by_type, safe_name, type_by_name, unique_names


class Attachment:
    """A file that a mail carries."""

    filename: str
    """A name without folders and without characters that file systems or shells stumble over, unique in its mail, never
    empty, at most 200 bytes."""
    content_type: str
    """Type and subtype in lower case, as the sender declared them; of a uuencoded file, what its name says."""
    content_id: str
    """The name by which HTML refers to it (``cid:``); empty if there is none."""
    inline: bool
    """Whether the HTML of the mail shows it."""

    def __init__(self, source: Part | UuencodedFile, filename: str, *, inline: bool = False) -> None:
        self._source = source
        self.filename = filename
        self.inline = inline
        self.content_type = type_by_name(filename) if isinstance(source, UuencodedFile) else source.content_type
        self.content_id = "" if isinstance(source, UuencodedFile) else source.content_id

    def __repr__(self) -> str:
        return f"<Attachment {self.filename!r} {self.content_type}>"

    @property
    def size(self) -> int:
        """Bytes, decoded."""
        return len(self._source.content) if isinstance(self._source, UuencodedFile) else self._source.size

    def open(self) -> BinaryIO:
        """Return a binary file that decodes the content as it is read; after a seek, all of it is in memory."""
        return io.BytesIO(self._source.content) if isinstance(self._source, UuencodedFile) else self._source.open()

    def read(self) -> bytes:
        """Return the whole content, decoded."""
        return self._source.content if isinstance(self._source, UuencodedFile) else self._source.decoded()


def attachments(sources: Iterable[Part | UuencodedFile], shown: frozenset[str]) -> tuple[Attachment, ...]:
    """Return an attachment for each source. ``shown`` are the Content-IDs to which the HTML refers."""
    sources = tuple(sources)
    names = unique_names(map(_name, sources))
    return tuple(
        Attachment(source, name, inline=isinstance(source, Part) and source.content_id in shown)
        for source, name in zip(sources, names, strict=True)
    )


def _name(source: Part | UuencodedFile) -> str:
    if isinstance(source, UuencodedFile):
        return safe_name(decode_text(source.name)) or name_by_type("application/octet-stream")
    named = safe_name(source.filename)
    if named or not source.is_message or source.inner is None:
        return named or name_by_type(source.content_type)
    return name_by_type(source.content_type, text_of(source.inner.header(b"subject")))
