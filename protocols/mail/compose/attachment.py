"""Reads the attachments that an application gives, whatever their form, in blocks."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from protocols.mail.charsets import whole
from protocols.mail.mime import name_by_type, safe_name, type_by_name

BLOCK = 57 * 4096
"""Bytes that are read at a time: whole lines of base64, each of 57 bytes (RFC 2045, 6.8)."""
MESSAGE = "message/rfc822"

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
"""RFC 6838, 4.2."""
_IMAGES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
"""How the files of some types begin."""


class Readable(Protocol):
    """A file that is open for reading, in bytes or text."""

    def read(self, size: int = -1, /) -> Any: ...


class Openable(Protocol):
    """An attachment of a received mail, or a file of Django's storage: it is opened when the mail is composed."""

    def open(self) -> Any: ...


Content: TypeAlias = bytes | bytearray | memoryview | str | Readable | Openable
Attachable: TypeAlias = (
    os.PathLike[str]
    | tuple[str | None, Content]
    | tuple[str | None, Content, str | None]
    | Readable
    | Openable
    | Message
)
"""A path; ``(filename, content)`` or ``(filename, content, content_type)``, as in Django; an open file, a file of
Django's storage or an attachment of a received mail, which know their names; a part of the standard library's
``email``."""


@dataclass(frozen=True)
class File:
    """A file to be sent. Nothing of it has been read yet."""

    filename: str
    content_type: str
    content: Any
    content_id: str = ""
    """Set for an image that the HTML shows (RFC 2392)."""

    def blocks(self) -> Iterator[bytes]:
        """Yield the content in blocks of at most BLOCK bytes. Raises what reading it raises."""
        with _opened(self.content) as file:
            while block := file.read(BLOCK):
                yield block.encode(errors="replace") if isinstance(block, str) else block


def file_of(given: Any, content_id: str = "") -> File:
    """Return ``given``, which is one of :data:`Attachable`. Raises TypeError for anything else."""
    if isinstance(given, File):
        return given
    if isinstance(given, os.PathLike):
        path = Path(given)
        return _file(path.name, None, path, content_id)
    if isinstance(given, tuple) and len(given) in (2, 3):
        content = _content(given[1])
        return _file(given[0], given[2] if len(given) == 3 else _type_of(given[1]), content, content_id)
    if isinstance(given, Message):
        return _file(given.get_filename(), given.get_content_type(), _payload(given), content_id)
    if _is_file(given):
        name = getattr(given, "filename", None) or getattr(given, "name", None)
        return _file(name if isinstance(name, str) else None, _type_of(given), given, content_id)
    shown = type(given).__name__
    raise TypeError(f"an attachment is a {shown}; write a pathlib.Path, (filename, content) or an open file")


def image_of(given: Any, content_id: str) -> File:
    """Return ``given`` for an inline image: it may also be the bytes alone."""
    if not isinstance(given, bytes | bytearray | memoryview):
        return file_of(given, content_id)
    begin = bytes(given[:12])
    kind = next((kind for magic, kind in _IMAGES.items() if begin.startswith(magic)), None)
    return _file(content_id.partition("@")[0], kind, given, content_id)


def _file(name: str | None, content_type: str | None, content: Any, content_id: str) -> File:
    filename = safe_name(name or "")
    kind = (content_type or "").partition(";")[0].strip().lower()
    if not _TYPE.fullmatch(kind) or kind.startswith("multipart/"):
        kind = type_by_name(filename)
    if kind.startswith("message/") and kind != MESSAGE:  # these too must not be in base64 (RFC 2046, 5.2)
        kind = "application/octet-stream"
    return File(filename or name_by_type(kind), kind, content, content_id)


def _type_of(given: Any) -> str | None:
    kind = getattr(given, "content_type", None)
    return kind if isinstance(kind, str) else None


def _content(given: Any) -> Any:
    if isinstance(given, Message):
        return _payload(given)
    if isinstance(given, str):
        return whole(given).encode()
    if isinstance(given, bytes | bytearray | memoryview | os.PathLike) or _is_file(given):
        return given
    raise TypeError(f"the content of an attachment is a {type(given).__name__}; write bytes, text or an open file")


def _is_file(given: Any) -> bool:
    return hasattr(given, "read") or hasattr(given, "open")


def _payload(part: Message) -> bytes:
    """Return the bytes of a part of the standard library's ``email``; of an attached message, the whole message."""
    if part.get_content_type() == MESSAGE:
        inner: Any = part.get_payload()
        return bytes(inner[0].as_bytes()) if isinstance(inner, list) and inner else part.as_bytes()
    decoded = part.get_payload(decode=True)
    return decoded if isinstance(decoded, bytes) else part.as_bytes()


def _opened(content: Any) -> AbstractContextManager[Any]:
    """Return an open file that begins at its beginning. What the application has opened itself stays open."""
    if isinstance(content, bytes | bytearray | memoryview):
        return nullcontext(_Blocks(content))
    if isinstance(content, os.PathLike):
        return Path(content).open("rb")
    if hasattr(content, "open"):
        # Django's FieldFile, which has a storage, opens its file when it is asked whether it is closed.
        closed = hasattr(content, "storage") or getattr(content, "closed", True)
        file = content.open()
        return closing(file) if closed or file is not content else nullcontext(file)
    _rewind(content)
    return nullcontext(content)


def _rewind(file: Any) -> None:
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        file.seek(0)


class _Blocks:
    """Reads bytes in memory without a copy of the whole."""

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(content).cast("B")
        self._at = 0

    def read(self, size: int) -> bytes:
        self._at += size
        return bytes(self._view[self._at - size : self._at])
