"""One entity of a MIME tree: offsets into the message's bytes. Everything else is read when it is asked for."""

import io
import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import BinaryIO, Protocol, cast
from weakref import ref

from protocols.mail.charsets import decode_text
from protocols.mail.encoded_words import text_of
from protocols.mail.headers import Headers, first
from protocols.mail.mime.flowed import unflowed
from protocols.mail.mime.parameters import first_word, parameters
from protocols.mail.mime.transfer import DecodedStream, decoded, decoded_size

_UNKNOWN_TYPES = ("application/octet-stream", "application/x-octet-stream", "binary/octet-stream")
_NAMES = {
    "winmail.dat": "application/ms-tnef",
    ".eml": "message/rfc822",
    ".ics": "text/calendar",
    ".p7m": "application/pkcs7-mime",
    ".p7s": "application/pkcs7-signature",
}
"""Name or suffix of a file -> content type."""
_NOT_IN_TYPES = re.compile(r"[^a-z0-9!#$&^_.+-]")
"""What no type has (RFC 6838, 4.2): an application may write the type into a header field of its own."""


class Opener(Protocol):
    """Reads the entity that a part contains, within the bounds of the whole message."""

    defects: list[str]

    def open(self, part: "Part") -> "Part | None": ...


class Part:
    """An entity: a whole message, a multipart, or a leaf such as a text or an attachment (RFC 2045, 2.4).

    ``raw[start:end]`` is all of it, ``raw[body:end]`` what follows its header block. ``children`` are those of a
    multipart, in order. A Part never raises, whatever the bytes.
    """

    def __init__(
        self,
        raw: bytes,
        start: int,
        body: int,
        headers: Headers,
        opener: Opener,
        *,
        parent: "Part | None" = None,
        default_type: str = "text/plain",
    ) -> None:
        self.raw = raw
        self.start = start
        self.body = body
        self.end = len(raw)
        self.headers = headers
        self._parent = None if parent is None else ref(parent)  # no circle: the message goes with its last part
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.children: list[Part] = []
        self.content_type = _content_type(first(headers, b"content-type"), default_type)
        self._opener = opener

    def __repr__(self) -> str:
        return f"<Part {self.content_type} {self.start}:{self.end}>"

    @property
    def parent(self) -> "Part | None":
        """The part that this one is in, for as long as that is referred to; None for the whole message."""
        return None if self._parent is None else self._parent()

    @property
    def is_multipart(self) -> bool:
        return self.content_type.startswith("multipart/")

    @property
    def is_message(self) -> bool:
        """Whether the part is a message (a forwarded one, the one that a bounce returns), which :attr:`inner` opens."""
        return self.effective_type in ("message/rfc822", "message/global", "message/news")

    @cached_property
    def effective_type(self) -> str:
        """The content type; where the sender knew none, the one that the file name says, if it changes how the part is
        read: of a message, an invitation, signed data or TNEF."""
        if self.content_type not in _UNKNOWN_TYPES:
            return self.content_type
        name = self.filename.lower()
        return _NAMES.get(name) or _NAMES.get(name[name.rfind(".") :], self.content_type)

    @property
    def defects(self) -> list[str]:
        """What of the whole message was not read, or was mended: plain sentences."""
        return self._opener.defects

    def header(self, name: bytes) -> bytes:
        """Return the value of the topmost field called ``name`` (lower case), without decoding it; empty if none."""
        return first(self.headers, name) or b""

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """The decoded parameters of Content-Type, by their names in lower case."""
        return parameters(self.header(b"content-type"))

    @cached_property
    def disposition_parameters(self) -> Mapping[str, str]:
        """The decoded parameters of Content-Disposition, by their names in lower case."""
        return parameters(self.header(b"content-disposition"))

    @cached_property
    def disposition(self) -> str:
        """``inline``, ``attachment``, another word in lower case, or empty if there is no Content-Disposition."""
        return first_word(self.header(b"content-disposition"))

    @cached_property
    def filename(self) -> str:
        """The name as its sender wrote it, decoded; empty if there is none. It may hold folders and anything else:
        :func:`~protocols.mail.mime.file_names.safe_name` makes it safe."""
        described = self.disposition_parameters
        return described.get("filename") or self.parameters.get("name") or described.get("name") or ""

    @property
    def charset(self) -> str:
        """The declared charset, as its sender wrote it; empty if there is none."""
        return self.parameters.get("charset", "")

    @cached_property
    def encoding(self) -> str:
        """The Content-Transfer-Encoding in lower case; empty if there is none."""
        return first_word(self.header(b"content-transfer-encoding"))

    @cached_property
    def content_id(self) -> str:
        """The Content-ID without its angle brackets; empty if there is none."""
        return text_of(self.header(b"content-id")).strip("<> ")

    @property
    def payload(self) -> memoryview:
        """The body as it was transferred. Nothing is copied."""
        return memoryview(self.raw)[self.body : self.end]

    def decoded(self) -> bytes:
        """Return the body without its transfer encoding."""
        return decoded(self.payload, self.encoding)

    def open(self) -> BinaryIO:
        """Return a file that decodes the body as it is read, some hundred kilobytes at a time."""
        return cast("BinaryIO", io.BufferedReader(DecodedStream(self.payload, self.encoding)))

    @cached_property
    def size(self) -> int:
        """Decoded bytes."""
        return decoded_size(self.payload, self.encoding)

    def text(self, other: str = "") -> str:
        """Return the body as text with LF as the line end, and without NULs, which no person sees and some databases do
        not store; ``format=flowed`` is joined. ``other`` is a charset that the same mail declares elsewhere, for bytes
        that are undeclared here."""
        return self.as_text(self.decoded(), other)

    def as_text(self, content: bytes, other: str = "") -> str:
        """Return ``content``, some of the decoded body, as :meth:`text` does."""
        text = decode_text(content, self.charset, other).replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
        if self.content_type == "text/plain" and self.parameters.get("format", "").lower() == "flowed":
            return unflowed(text, delsp=self.parameters.get("delsp", "").lower() == "yes")
        return text

    @cached_property
    def inner(self) -> "Part | None":
        """The entity inside this leaf: an attached message, the content of opaque S/MIME signed data, or a multipart of
        what TNEF (``winmail.dat``) holds. None if there is none, or if it is over a bound, which is a defect."""
        return self._opener.open(self)

    def walk(self) -> Iterator["Part"]:
        """Yield this part and all below it, in order. Attached messages are not entered."""
        parts = [self]
        while parts:
            part = parts.pop()
            yield part
            parts += reversed(part.children)

    def leaves(self) -> Iterator["Part"]:
        """Yield the parts below this one, or itself, that have no children, in order."""
        return (part for part in self.walk() if not part.children)


def _content_type(value: bytes | None, default: str) -> str:
    """Return type and subtype in lower case; what names none is text (RFC 2045, 5.2)."""
    return default if value is None else _type(first_word(value))


@lru_cache(maxsize=256)
def _type(word: str) -> str:
    main, slash, sub = word.partition("/")
    main, sub = (_NOT_IN_TYPES.sub("", each) for each in (main, "".join(sub.split()[:1])))
    return f"{main}/{sub}" if slash and main and sub else "text/plain"
