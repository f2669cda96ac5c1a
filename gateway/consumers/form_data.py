"""What an HTML form has sent: ``application/x-www-form-urlencoded``, or ``multipart/form-data`` (RFC 7578)."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of what it raises, too

MOST = 1000
"""Fields and files of one form."""
LONGEST_URLENCODED = 1 << 20
"""Bytes: more is sent as multipart, which is read at many times the speed."""

_PATH = re.compile(r"^.*[/\\]|[\x00-\x1f\x7f]", re.DOTALL)


class FormError(ValueError):
    """The body is not a valid form. Unless the handler catches it, the client gets 400."""


class UploadedFile(NamedTuple):
    """A file of a form, as the client describes it."""

    filename: str
    """Without folders. It can be empty, or be any other name that a stranger likes."""
    content_type: str
    content: bytes


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
        return _Multipart(options[b"boundary"]).read(body)
    raise FormError("the request is not a form: its Content-Type is neither multipart/form-data nor urlencoded")


def _urlencoded(body: bytes) -> FormData:
    if len(body) > LONGEST_URLENCODED:
        raise FormError(f"the form is longer than {LONGEST_URLENCODED} bytes and not sent as multipart/form-data")
    form = FormData()
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST)
    except ValueError as error:
        raise FormError(f"the form has more than {MOST} fields, or text that is not UTF-8") from error
    for name, value in pairs:
        form.add(name, value)
    return form


class _Multipart:
    """Reads the parts of one body."""

    def __init__(self, boundary: bytes) -> None:
        self._form = FormData()
        self._parts = 0
        self._complete = False
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._content = bytearray()
        self._boundary = boundary

    def read(self, body: bytes) -> FormData:
        try:
            parser = MultipartParser(
                self._boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._ended,
                },
            )
            parser.write(body)
        except FormParserError as error:
            raise FormError(f"the form is not multipart/form-data: {error}") from error
        except UnicodeDecodeError as error:
            raise FormError("the form has text that is not UTF-8") from error
        if not self._complete:
            raise FormError("the form ends before its last boundary")
        return self._form

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST:
            raise FormError(f"the form has more than {MOST} parts")
        self._headers = {}
        self._content = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content += memoryview(data)[start:end]

    def _end(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise FormError("a part of the form has no name")
        name = options[b"name"].decode()
        if b"filename" in options:
            content_type = self._headers.get(b"content-type", b"application/octet-stream").decode("latin-1")
            filename = _PATH.sub("", options[b"filename"].decode())
            self._form.add_file(name, UploadedFile(filename, content_type, bytes(self._content)))
        else:
            self._form.add(name, self._content.decode())

    def _ended(self) -> None:
        self._complete = True
