"""Writes the content of a mail: text, HTML, images and files, in ASCII lines that every server takes.

The mail is written into one buffer, block by block: a file is never in memory as a whole beside it.
"""

import re
import secrets
from binascii import b2a_base64, b2a_qp
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import quote

from protocols.mail.charsets import whole
from protocols.mail.compose.attachment import MESSAGE, File

Part = Callable[[BytesIO], None]
"""Writes its header fields, a blank line and its content, which ends with a line end."""

_MAX_LINE = 998
"""RFC 5322, 2.1.1."""
_LINE = 57
"""Bytes in a line of base64 (RFC 2045, 6.8)."""
_NOT_IN_TEXT = dict.fromkeys({*range(0x20)} - set(b"\t\r\n"))
"""Control characters, which RFC 5322 (2.3; NUL: 4.1) forbids in a mail's text. Handlers may repeat them from
elsewhere."""
_NOT_ASCII = bytes(range(128, 256))
_LINE_END = re.compile("\r\n|\r|\n")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$&+.^_`{}~ ()\[\],;:@=-]+")
"""A file name that can stand between quotes as it is."""


def text_part(subtype: str, text: str) -> Part:
    """Return ``text/plain`` or ``text/html``, in the shortest encoding that has ASCII lines of a valid length."""
    data = _lines(text).encode()
    encoding, encoded = _encoded(data)
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()

    def write(out: BytesIO) -> None:
        out.write(head)
        out.write(encoded)

    return write


def _lines(text: str) -> str:
    """Return ``text`` with CRLF at the end of each line, the last included, and without what a mail cannot have."""
    clean = _LINE_END.sub("\r\n", whole(text).translate(_NOT_IN_TEXT))
    return clean if clean.endswith("\r\n") else f"{clean}\r\n"


def _encoded(data: bytes) -> tuple[str, bytes]:
    foreign = len(data) - len(data.translate(None, _NOT_ASCII))
    if not foreign and max(map(len, data.split(b"\r\n"))) <= _MAX_LINE:
        return "7bit", data
    if foreign * 6 < len(data):  # a byte takes three characters here, and 4/3 in base64
        return "quoted-printable", b2a_qp(data, istext=True)
    return "base64", _base64(memoryview(data))


@dataclass(frozen=True)
class Multipart:
    """Parts in one, of the type ``multipart/<subtype>``. A call writes it."""

    subtype: str
    parts: Sequence[Part]
    parameters: str = ""

    def __call__(self, out: BytesIO) -> None:
        boundary = f"=_{secrets.token_hex(12)}"  # in no part, and in none that somebody else has written
        kind = f'multipart/{self.subtype};{self.parameters} boundary="{boundary}"'
        out.write(f"Content-Type: {kind}\r\n\r\n".encode())
        for part in self.parts:
            out.write(f"--{boundary}\r\n".encode())
            part(out)
            out.write(b"\r\n")
        out.write(f"--{boundary}--\r\n".encode())


def multipart(subtype: str, parts: Sequence[Part], parameters: str = "") -> Part:
    """Return the parts in one; a single part stays as it is."""
    return parts[0] if len(parts) == 1 else Multipart(subtype, parts, parameters)


def file_part(file: File) -> Part:
    """Return an attachment, or an inline image if the file has a Content-ID.

    Writing it raises what reading the file raises.
    """
    if file.content_type == MESSAGE:
        return message_part(b"".join(file.blocks()), file.filename)
    head = [f"Content-Type: {file.content_type}"]
    if file.content_type.startswith("text/"):
        head[0] += "; charset=utf-8"
    if file.content_id:
        head.append(f"Content-ID: <{file.content_id}>")
    head += [f"Content-Disposition: {'inline' if file.content_id else 'attachment'};", f" {_filename(file.filename)}"]

    def write(out: BytesIO) -> None:
        out.write("\r\n".join(head).encode())
        out.write(b"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
        rest = b""
        for block in file.blocks():
            data = memoryview(rest + block if rest else block)
            whole_lines = len(data) - len(data) % _LINE
            out.write(_base64(data[:whole_lines]))
            rest = bytes(data[whole_lines:])
        out.write(_base64(memoryview(rest)))

    return write


def message_part(raw: bytes, filename: str) -> Part:
    """Return a message as it is, to be attached.

    ``message/rfc822`` may not be in base64 (RFC 2046, 5.2.1): it is 8bit if it has to be. One that has NUL, bare line
    ends or lines that are too long for that is attached as a file.
    """
    if not _is_valid(raw):
        return file_part(File(filename, "application/octet-stream", raw))
    encoding = "7bit" if raw.isascii() else "8bit"
    head = f"Content-Type: {MESSAGE}\r\nContent-Disposition: attachment;\r\n {_filename(filename)}\r\n"

    def write(out: BytesIO) -> None:
        out.write(f"{head}Content-Transfer-Encoding: {encoding}\r\n\r\n".encode())
        out.write(raw)

    return write


def _is_valid(raw: bytes) -> bool:
    """Whether ``raw`` can be sent as lines (RFC 2045, 2.7 and 2.8)."""
    pairs = raw.count(b"\r\n")
    return b"\0" not in raw and pairs == raw.count(b"\r") == raw.count(b"\n") and not _has_long_line(raw)


def _has_long_line(raw: bytes) -> bool:
    """Look from each line end for another within the length of a line: few looks, and no copy."""
    start = 0
    while len(raw) - start > _MAX_LINE:
        end = raw.rfind(b"\r\n", start, start + _MAX_LINE + 2)
        if end < 0:
            return True
        start = end + 2
    return False


def _base64(data: memoryview) -> bytes:
    """Return ``data`` in lines of base64, each with its line end."""
    lines = [b2a_base64(data[at : at + _LINE], newline=False) for at in range(0, len(data), _LINE)]
    return b"\r\n".join([*lines, b""])


def _filename(name: str) -> str:
    """Return the parameter with the file's name (RFC 2231, 4)."""
    if _PLAIN_NAME.fullmatch(name):
        return f'filename="{name}"'
    return f"filename*=utf-8''{quote(name, safe='')}"
