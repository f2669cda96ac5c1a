"""Writes TNEF (winmail.dat, [MS-OXTNEF]) for tests: the attributes that Outlook usually writes."""

import struct
from collections.abc import Sequence

_SIGNATURE = 0x223E9F78
_MESSAGE, _ATTACHMENT = 1, 2
_VERSION, _CODE_PAGE, _BODY, _PROPERTIES = 0x00089006, 0x00069007, 0x0002800C, 0x00069003
_RENDER_DATA, _TITLE, _DATA, _ATTACHMENT_PROPERTIES = 0x00069002, 0x00018010, 0x0006800F, 0x00069005
_STRING, _UNICODE, _BINARY = 0x001E, 0x001F, 0x0102
_BODY_HTML, _RTF_COMPRESSED, _LONG_NAME = 0x1013, 0x1009, 0x3707


def tnef(
    *,
    body: bytes = b"",
    html: bytes = b"",
    rtf: bytes = b"",
    attachments: Sequence[tuple[str, bytes]] = (),
    code_page: int = 1252,
) -> bytes:
    """Return a TNEF stream. ``rtf`` is the compressed form as stored; each attachment is its name and its data."""
    out = struct.pack("<IH", _SIGNATURE, 1)
    out += _attribute(_MESSAGE, _VERSION, struct.pack("<I", 0x10000))
    out += _attribute(_MESSAGE, _CODE_PAGE, struct.pack("<II", code_page, 0))
    if body:
        out += _attribute(_MESSAGE, _BODY, body + b"\0")
    properties = []
    if html:
        properties.append(_property(_BINARY, _BODY_HTML, html))
    if rtf:
        properties.append(_property(_BINARY, _RTF_COMPRESSED, rtf))
    if properties:
        out += _attribute(_MESSAGE, _PROPERTIES, struct.pack("<I", len(properties)) + b"".join(properties))
    for name, data in attachments:
        out += _attached(name, data, code_page)
    return out


def _attached(name: str, data: bytes, code_page: int) -> bytes:
    short = name.encode(f"cp{code_page}", "replace")[:60] + b"\0"
    long_name = _property(_UNICODE, _LONG_NAME, (name + "\0").encode("utf-16-le"))
    return (
        _attribute(_ATTACHMENT, _RENDER_DATA, struct.pack("<HIHHI", 1, 0xFFFFFFFF, 32, 32, 0))
        + _attribute(_ATTACHMENT, _TITLE, short)
        + _attribute(_ATTACHMENT, _DATA, data)
        + _attribute(_ATTACHMENT, _ATTACHMENT_PROPERTIES, struct.pack("<I", 1) + long_name)
    )


def _attribute(level: int, name: int, data: bytes) -> bytes:
    return struct.pack("<BII", level, name, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def _property(kind: int, name: int, value: bytes) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return struct.pack("<HHII", kind, name, 1, len(value)) + value + padding
