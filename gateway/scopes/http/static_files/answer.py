"""Makes the response to a request for a file, with its conditions and ranges. Pure but for ``prefetch``."""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from gateway.scopes.http.static_files.conditions import Fields, Validators, status_of, takes_range
from gateway.scopes.http.static_files.open_file import OpenFile
from gateway.scopes.http.static_files.ranges import NotSatisfiable, ranges_in
from protocols.http.compression.coding import IDENTITY

PIECE = 256 * 1024
"""Bytes of a file that are read and sent at a time."""

Header = tuple[bytes, bytes]


@dataclass
class Answer:
    """A response. ``body`` has bytes, and ranges of what is in ``file``."""

    status: int
    headers: list[Header]
    body: Sequence[bytes | range] = ()
    file: OpenFile | None = None
    length: int = field(init=False)
    """Bytes of the whole body."""

    def __post_init__(self) -> None:
        self.length = sum(map(len, self.body))

    def pieces(self) -> Iterator[bytes | range]:
        for part in self.body:
            yield from (part[begin : begin + PIECE] for begin in range(0, len(part), PIECE))

    def prefetch(self) -> "Answer":
        """Read a body that is one piece, and close the file. Blocks."""
        if self.file is not None and self.length <= PIECE:
            read = [part if isinstance(part, bytes) else self.read(part) for part in self.body]
            if sum(map(len, read)) == self.length:
                self.body = [b"".join(read)]
                self.close()
        return self

    def read(self, part: range) -> bytes:
        """Return this part of the file, or less if the file has become shorter. Blocks."""
        return b"" if self.file is None else self.file.read(part.start, len(part))

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def short(status: int, *headers: Header) -> Answer:
    """Return a response that says only what ``status`` means."""
    text = f"{HTTPStatus(status).phrase}\n".encode()
    framing = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text))]
    return Answer(status, [*framing, *headers], [text])


@dataclass(frozen=True)
class Representation:
    """A file as it is sent to this client."""

    file: OpenFile
    media_type: str
    cache_control: str
    coding: str = IDENTITY
    varies: bool = False
    """Whether another client may get it in another coding."""

    @property
    def validators(self) -> Validators:
        """A time in the future is not sent (RFC 9110, 8.8.2.1): a client could not ask with it."""
        file, suffix = self.file, "" if self.coding == IDENTITY else f"-{self.coding}"
        modified = max(0, min(file.modified_ns // 1_000_000_000, int(time.time())))
        return Validators(f'"{file.modified_ns & _64_BITS:x}-{file.size:x}{suffix}"', modified)

    def answer(self, method: str, fields: Fields) -> Answer:
        current = self.validators
        headers = self._headers(current)
        status = status_of(fields, current)
        if status == 304:
            return Answer(304, headers)
        if status == 412:
            return short(412)
        try:
            ranges = self._ranges(method, fields, current)
        except NotSatisfiable:
            return short(416, (b"content-range", b"bytes */%d" % self.file.size))
        headers += [(b"accept-ranges", b"bytes"), (b"x-content-type-options", b"nosniff")]
        return self._of_ranges(headers, ranges) if ranges else self._whole(headers)

    def _ranges(self, method: str, fields: Fields, current: Validators) -> list[range]:
        """Return the ranges that are asked for. They are defined for GET only (14.2)."""
        asked = fields.get("range") if method == "GET" else None
        return ranges_in(asked, self.file.size) if asked is not None and takes_range(fields, current) else []

    def _headers(self, current: Validators) -> list[Header]:
        """Return what a 304 has, too (15.4.5)."""
        headers = [
            (b"etag", current.tag.encode()),
            (b"last-modified", current.last_modified.encode()),
            (b"cache-control", self.cache_control.encode()),
        ]
        return [*headers, (b"vary", b"accept-encoding")] if self.varies else headers

    def _whole(self, headers: list[Header]) -> Answer:
        return self._answer(200, headers, self.media_type, [range(self.file.size)])

    def _of_ranges(self, headers: list[Header], ranges: list[range]) -> Answer:
        if len(ranges) == 1:
            return self._answer(206, [*headers, self._content_range(ranges[0])], self.media_type, ranges)
        boundary = secrets.token_hex(16)
        body = list(self._multipart(boundary, ranges))
        return self._answer(206, headers, f"multipart/byteranges; boundary={boundary}", body)

    def _multipart(self, boundary: str, ranges: list[range]) -> Iterator[bytes | range]:
        for number, each in enumerate(ranges):
            content_range = self._content_range(each)[1].decode()
            start = "\r\n" if number else ""
            head = f"{start}--{boundary}\r\ncontent-type: {self.media_type}\r\ncontent-range: {content_range}\r\n\r\n"
            yield head.encode()
            yield each
        yield f"\r\n--{boundary}--\r\n".encode()

    def _content_range(self, part: range) -> Header:
        return b"content-range", b"bytes %d-%d/%d" % (part.start, part.stop - 1, self.file.size)

    def _answer(self, status: int, headers: list[Header], kind: str, body: Sequence[bytes | range]) -> Answer:
        answer = Answer(status, headers, body, self.file)
        headers += [(b"content-type", kind.encode()), (b"content-length", b"%d" % answer.length)]
        if self.coding != IDENTITY:
            headers.append((b"content-encoding", self.coding.encode()))
        return answer


_64_BITS = 2**64 - 1
