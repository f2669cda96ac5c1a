"""Files that go with a text: ``data:`` URLs (RFC 2397) until they leave, so that a text is whole wherever it waits."""

import base64
import binascii
import os
import re
from mimetypes import guess_type
from pathlib import Path

LONGEST = 5 * 1024 * 1024
"""Bytes of one file that are read; carriers take less."""
_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_SCHEME, _BASE64 = "data:", ";base64,"


def read_file(path: "os.PathLike[str]") -> str:
    """Return the file as a URL. Raises OSError, and ValueError for a file that no text can carry."""
    with Path(path).open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise ValueError(f"{os.fspath(path)} has more than {LONGEST} bytes; send a smaller file, or a URL")
    if not content:
        raise ValueError(f"{os.fspath(path)} is empty")
    type_ = guess_type(path)[0] or "application/octet-stream"
    return f"{_SCHEME}{type_}{_BASE64}{base64.b64encode(content).decode()}"


def is_file(url: str) -> bool:
    return url.startswith(_SCHEME)


def size_of(url: str) -> int:
    """Return about how many bytes the file has, without reading it."""
    return (len(url) - url.find(",") - 1) * 3 // 4


def content_of(url: str) -> tuple[str, bytes]:
    """Return the content type and the bytes. Raises ValueError."""
    head, separator, text = url.removeprefix(_SCHEME).partition(_BASE64)
    if not separator or not _TYPE.fullmatch(head):
        raise ValueError("a data: URL in media is not of the form data:TYPE;base64,TEXT")
    try:
        return head, base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("a data: URL in media is not base64") from error
