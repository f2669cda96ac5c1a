"""What an HTML form has sent: ``application/x-www-form-urlencoded``, or ``multipart/form-data`` (RFC 7578)."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.consumers.spool import Spool

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of what it raises, too

MOST = 1000
"""Fields and files of one form."""
LONGEST_URLENCODED = 1 << 20
"""Bytes: more is sent as multipart, which is read at many times the speed."""
IN_MEMORY = 1 << 20
"""Bytes of the files of one form that are kept in memory, where it is read as it comes."""
LONGEST_TEXT = 1 << 20
"""Bytes of all the fields of such a form that are no files."""

_NO_FORM = "the request is not a form: its Content-Type is neither multipart/form-data nor urlencoded"
_TOO_LONG = f"the form is longer than {LONGEST_URLENCODED} bytes and not sent as multipart/form-data"
_PATH = re.compile(r"^.*[/\\]|[\x00-\x1f\x7f]", re.DOTALL)


class FormError(ValueError):
    """The body is not a valid form. Unless the handler catches it, the client gets 400."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a form, as the client describes it."""

    filename: str
    """Without folders. It can be empty, or be any other name that a stranger likes."""
    content_type: str
    size: int
    """Bytes."""
    _start: int
    _spool: Spool

    @property
    def content(self) -> bytes:
        """All of its bytes. Each access reads them anew."""
        return self._spool.read(self._start, self.size)

    def chunks(self, size: int = 256 * 1024) -> Iterator[bytes]:
        """Yield its bytes in pieces of ``size``."""
        for begin in range(0, self.size, size):
            yield self._spool.read(self._start + begin, min(size, self.size - begin))


class FormData(Mapping[str, str]):
    """The fields of a form by name, in the order of arrival; of several with one name the last."""

    def __init__(self) -> None:
        self._values: defaultdict[str, list[str]] = defaultdict(list)
        self.files: dict[str, list[UploadedFile]] = {}
        """The files, by the name of their field."""

    def __getitem__(self, name: str) -> str:
        if name not in self._values:
            raise KeyError(name)
        return self._values[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_all(self, name: str) -> list[str]:
        """Return all values of the fields called ``name``."""
        return list(self._values.get(name, ()))

    def add(self, name: str, value: str) -> None:
        self._values[name].append(value)

    def add_file(self, name: str, file: UploadedFile) -> None:
        self.files.setdefault(name, []).append(file)


def read(content_type: bytes, body: bytes) -> FormData:
    """Read ``body``. Raises FormError."""
    kind, options = parse_options_header(content_type)
    if kind == b"application/x-www-form-urlencoded":
        return _urlencoded(body)
    if kind == b"multipart/form-data" and options.get(b"boundary"):
        multipart = _Multipart(options[b"boundary"], Spool(None))
        multipart.feed(body)
        return multipart.end()
    raise FormError(_NO_FORM)


def _urlencoded(body: bytes) -> FormData:
    if len(body) > LONGEST_URLENCODED:
        raise FormError(_TOO_LONG)
    form = FormData()
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST)
    except ValueError as error:
        raise FormError(f"the form has more than {MOST} fields, or text that is not UTF-8") from error
    for name, value in pairs:
        form.add(name, value)
    return form


class FormReader:
    """Reads a form as it comes. Files beyond 1 MiB together are kept in one temporary file."""

    def __init__(self, content_type: bytes) -> None:
        """Raises FormError."""
        kind, options = parse_options_header(content_type)
        self._spool = Spool(IN_MEMORY)
        self._multipart: _Multipart | None = None
        self._urlencoded = bytearray()
        if kind == b"multipart/form-data" and options.get(b"boundary"):
            self._multipart = _Multipart(options[b"boundary"], self._spool, LONGEST_TEXT)
        elif kind != b"application/x-www-form-urlencoded":
            raise FormError(_NO_FORM)

    def feed(self, piece: bytes) -> None:
        """Read the next piece. Raises FormError, and OSError if it cannot be written to the file. Blocks."""
        if self._multipart is not None:
            self._multipart.feed(piece)
            return
        self._urlencoded += piece
        if len(self._urlencoded) > LONGEST_URLENCODED:
            raise FormError(_TOO_LONG)

    def end(self) -> FormData:
        """Return the form, which is complete. Raises FormError."""
        return _urlencoded(bytes(self._urlencoded)) if self._multipart is None else self._multipart.end()

    def close(self) -> None:
        """Close its files."""
        self._spool.close()


class _Multipart:
    """Reads the parts of one body. ``longest_text``: bytes of all that is not in files."""

    def __init__(self, boundary: bytes, spool: Spool, longest_text: int | None = None) -> None:
        self._form = FormData()
        self._spool = spool
        self._text_left = longest_text
        self._parts = 0
        self._complete = False
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._content = bytearray()
        self._options: dict[bytes, bytes] | None = None
        self._start = 0
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._ended,
                },
            )
        except FormParserError as error:
            raise FormError(f"the form is not multipart/form-data: {error}") from error

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise FormError(f"the form is not multipart/form-data: {error}") from error
        except UnicodeDecodeError as error:
            raise FormError("the form has text that is not UTF-8") from error

    def end(self) -> FormData:
        if not self._complete:
            raise FormError("the form ends before its last boundary")
        return self._form

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST:
            raise FormError(f"the form has more than {MOST} parts")
        self._headers = {}
        self._options = None
        self._content = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise FormError("a part of the form has no name")
        self._options = options
        self._start = self._spool.size

    @property
    def _is_file(self) -> bool:
        return self._options is not None and b"filename" in self._options

    def _data(self, data: bytes, start: int, end: int) -> None:
        piece = memoryview(data)[start:end]
        if self._is_file:
            self._spool.write(piece)
            return
        self._content += piece
        if self._text_left is not None:
            self._text_left -= len(piece)
            if self._text_left < 0:
                raise FormError(f"the fields of the form have more than {LONGEST_TEXT} bytes")

    def _end(self) -> None:
        options = self._options
        if options is None:
            raise FormError("a part of the form has no name")
        name = options[b"name"].decode()
        if b"filename" not in options:
            self._form.add(name, self._content.decode())
            return
        content_type = self._headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
        filename = _PATH.sub("", options[b"filename"].decode())
        size = self._spool.size - self._start
        self._form.add_file(name, UploadedFile(filename, content_type, size, self._start, self._spool))

    def _ended(self) -> None:
        self._complete = True
