"""Reads TNEF, the ``winmail.dat`` of Outlook and Exchange (Microsoft's MS-OXTNEF). Pure; never raises, and linear.

The libraries for it copy the rest of the data at each of its attributes, which takes hours for a hostile file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from struct import Struct, error, unpack_from
from typing import NamedTuple
from urllib.parse import quote

from protocols.mail.charsets import decode_text, one_line
from protocols.mail.headers import Headers
from protocols.mail.mime.file_names import type_by_name

MOST = 5000
"""Attributes, and properties in each of them, that are read."""

_SIGNATURE = b"\x78\x9f\x3e\x22"
_ATTRIBUTE = Struct("<BHHI")
"""Level, name, type and length (MS-OXTNEF 2.1.3.1); data and a checksum of two bytes follow."""
_TITLE, _DATA, _BODY = 0x8010, 0x800F, 0x800C
_NEW_ATTACHMENT, _MESSAGE_PROPERTIES, _ATTACHMENT_PROPERTIES, _CODE_PAGE = 0x9002, 0x9003, 0x9005, 0x9007

_TEXT, _HTML, _RTF, _INTERNET_CODE_PAGE = 0x1000, 0x1013, 0x1009, 0x3FDE
_NAME, _LONG_NAME, _SHORT_NAME, _CONTENT, _MIME_TYPE, _CONTENT_ID = 0x3001, 0x3707, 0x3704, 0x3701, 0x370E, 0x3712
_STRING, _UNICODE, _OBJECT, _BINARY, _MULTIPLE = 0x001E, 0x001F, 0x000D, 0x0102, 0x1000
_VARIABLE = (_STRING, _UNICODE, _OBJECT, _BINARY)
_FIXED = {0: 0, 1: 0, 2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 0x0A: 4, 0x0B: 4, 0x14: 8, 0x40: 8, 0x48: 16}
"""Type of a property (MS-OXCDATA 2.11.1) -> bytes of its value, with padding."""
_INTERFACE = bytes.fromhex("00000000c000000000000046")
"""The end of the 16 bytes before an object that say what it is."""
_MESSAGE = bytes.fromhex("0703020000000000c000000000000046")
"""IID_IMessage: the object is a message, in TNEF again."""
_CHARSETS = {
    **{28590 + part: f"iso-8859-{part}" for part in (*range(1, 10), 13, 15)},
    1200: "utf-16-le",
    20127: "us-ascii",
    20866: "koi8-r",
    21866: "koi8-u",
    51932: "euc-jp",
    51949: "euc-kr",
    54936: "gb18030",
    65000: "utf-7",
    65001: "utf-8",
}
"""Windows code pages that are not called ``cp`` with their number."""


@dataclass(frozen=True)
class TnefEntity:
    """What the data holds at ``data[start:end]``: the message's text or HTML, or an attachment with a name."""

    content_type: str
    start: int
    end: int
    disposition: str
    charset: str = ""
    name: str = ""
    content_id: str = ""

    def headers(self) -> Headers:
        """Return the header fields with which MIME would describe it."""
        content_type = self.content_type or type_by_name(self.name)
        fields = {
            "content-type": f"{content_type}; charset={self.charset}" if self.charset else content_type,
            "content-disposition": f"{self.disposition}; filename*=utf-8''{quote(self.name)}",
            "content-id": self.content_id,
        }
        return [(name.encode(), value.encode()) for name, value in fields.items()]


@dataclass(frozen=True)
class Tnef:
    """``bodies`` are the text and the HTML of the message; ``rich_text`` is a third form, compressed RTF."""

    bodies: list[TnefEntity]
    attachments: list[TnefEntity]
    rich_text: bytes
    """Empty if there is none."""


class _Value(NamedTuple):
    kind: int
    start: int
    end: int


_Properties = dict[int, _Value]


def read_tnef(data: bytes) -> Tnef | None:
    """Return what the data holds; None if it is no TNEF. If it is cut or malformed, what comes before that."""
    if not data.startswith(_SIGNATURE):
        return None
    message: _Properties = {}
    attachments: list[_Properties] = []
    code_page = 0
    for name, start, end in islice(_attributes(data), MOST):
        if name == _NEW_ATTACHMENT:
            attachments.append({})
        elif name == _CODE_PAGE:
            code_page = _number(data, start, end)
        elif name == _MESSAGE_PROPERTIES:
            message |= _properties(data, start, end)
        elif name == _BODY:
            message.setdefault(_TEXT, _Value(_STRING, start, end))
        elif attachments and name == _TITLE:
            attachments[-1].setdefault(_SHORT_NAME, _Value(_STRING, start, end))
        elif attachments and name == _DATA:
            attachments[-1][_CONTENT] = _Value(_BINARY, start, end)
        elif attachments and name == _ATTACHMENT_PROPERTIES:
            attachments[-1] |= _properties(data, start, end)
    charset = _charset(code_page)
    files = [_attachment(data, properties, charset) for properties in attachments if _CONTENT in properties]
    rich_text = message.get(_RTF)
    return Tnef(_bodies(data, message, charset), files, data[rich_text.start : rich_text.end] if rich_text else b"")


def _attributes(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the name of each attribute, and where its data begins and ends."""
    place = len(_SIGNATURE) + 2  # a key
    while place + _ATTRIBUTE.size <= len(data):
        _, name, _, length = _ATTRIBUTE.unpack_from(data, place)
        start = place + _ATTRIBUTE.size
        yield name, start, min(start + length, len(data))
        place = start + length + 2


def _properties(data: bytes, start: int, end: int) -> _Properties:
    """Return the first value of each MAPI property in ``data[start:end]``."""
    found: _Properties = {}
    try:
        for name, value in islice(_each_property(data, start, end), MOST):
            found.setdefault(name, value)
    except (error, KeyError, ValueError):  # cut, or of a type that nobody knows, and so of unknown length
        pass
    return found


def _each_property(data: bytes, place: int, end: int) -> Iterator[tuple[int, _Value]]:
    (count,) = unpack_from("<I", data, place)
    place += 4
    for _ in range(count):
        if place >= end:
            return
        kind, name = unpack_from("<HH", data, place)
        place += 4
        if name >= 0x8000:
            place = _after_name(data, place)
        value, place = _value(data, kind, place)
        if value.end > end:
            return
        yield name, value


def _after_name(data: bytes, place: int) -> int:
    """Return the offset behind the GUID and the number or name of a named property."""
    is_string, length = unpack_from("<II", data, place + 16)
    return place + 24 + (_padded(length) if is_string else 0)


def _value(data: bytes, kind: int, place: int) -> tuple[_Value, int]:
    """Return the first value of a property, and the offset behind all of its values."""
    basic = kind & ~_MULTIPLE
    count = 1
    if kind & _MULTIPLE or basic in _VARIABLE:
        (count,) = unpack_from("<I", data, place)
        place += 4
    if basic not in _VARIABLE:
        size = _FIXED[basic]
        return _Value(basic, place, place + size), place + size * count
    first: _Value | None = None
    if count > MOST:
        raise ValueError("too many values")
    for _ in range(count):
        (length,) = unpack_from("<I", data, place)
        first = first or _Value(basic, place + 4, place + 4 + length)
        place += 4 + _padded(length)
    return first or _Value(basic, place, place), place


def _padded(length: int) -> int:
    return (length + 3) // 4 * 4


def _number(data: bytes, start: int, end: int) -> int:
    return int.from_bytes(data[start : min(end, start + 4)], "little")


def _charset(code_page: int) -> str:
    return _CHARSETS.get(code_page, f"cp{code_page}" if code_page else "")


def _bodies(data: bytes, message: _Properties, charset: str) -> list[TnefEntity]:
    if (internet := message.get(_INTERNET_CODE_PAGE)) is not None:
        charset = _charset(_number(data, internet.start, internet.end)) or charset
    kinds = (("text/plain", _TEXT), ("text/html", _HTML))
    return [_body(data, kind, message[name], charset) for kind, name in kinds if name in message]


def _body(data: bytes, content_type: str, value: _Value, charset: str) -> TnefEntity:
    end = _text_end(data, value)
    charset = "utf-16-le" if value.kind == _UNICODE else charset
    return TnefEntity(content_type, value.start, end, "inline", charset)


def _text_end(data: bytes, value: _Value) -> int:
    """Return where a text ends: before the zero that terminates it."""
    zero = b"\0\0" if value.kind == _UNICODE else b"\0"
    end = value.end
    return end - len(zero) if data.endswith(zero, value.start, end) else end


def _attachment(data: bytes, properties: _Properties, charset: str) -> TnefEntity:
    content = properties[_CONTENT]
    texts = {
        name: _text(data, value, charset) for name, value in properties.items() if value.kind in (_STRING, _UNICODE)
    }
    name = texts.get(_LONG_NAME) or texts.get(_SHORT_NAME) or texts.get(_NAME) or ""
    is_message = data.startswith(_MESSAGE, content.start, content.end)
    return TnefEntity(
        "application/ms-tnef" if is_message else texts.get(_MIME_TYPE, ""),
        content.start + len(_MESSAGE) * data.startswith(_INTERFACE, content.start + 4, content.end),
        content.end,
        "attachment",
        name=name,
        content_id=texts.get(_CONTENT_ID, ""),
    )


def _text(data: bytes, value: _Value, charset: str) -> str:
    raw = data[value.start : min(_text_end(data, value), value.start + 2000)]
    return one_line(raw.decode("utf-16-le", "replace") if value.kind == _UNICODE else decode_text(raw, charset))
