"""Reads the content of a message as it is transmitted, in bounded memory: after DATA up to the final dot (RFC 5321
4.1.1.4, 4.5.2), after BDAT so many bytes (RFC 3030)."""

from io import BytesIO

from protocols.errors import RemoteProtocolError
from protocols.mail.line_ends import with_crlf

_DOT = b"\r\n.\r\n"


class MessageBuffer:
    """A message as far as it has come. It checks size and lines on the way.

    BytesIO grows where it is, and hands out the bytes that it has gathered without a copy, so a message is in memory
    once.
    """

    def __init__(self, limit: int, max_line: int, head: bytes = b"") -> None:
        """``head`` stands before what comes: our trace header."""
        self.size = 0
        """The bytes of the message so far, without ``head``; 0 once it was discarded."""
        self._limit = limit
        self._max_line = max_line
        self._content = BytesIO()
        self._content.write(head)
        self._line = 0
        """Bytes of the line whose end has not come yet."""
        self._cr = b""  # a CR at the end of what has come, to which LF may belong
        self.refusal: RemoteProtocolError | None = None
        """Why the message cannot be taken."""
        self._discards = False

    def add(self, piece: bytes) -> None:
        """Append a piece, with CRLF for each bare CR or LF, which RFC 5321 (2.3.8) forbids. None is passed on, so no
        server behind us can take one for the end of the message ("SMTP smuggling")."""
        if self._discards or not piece:
            return
        if self._cr:
            piece, self._cr = self._cr + piece, b""
        if piece.endswith(b"\r"):
            piece, self._cr = piece[:-1], b"\r"
        piece = with_crlf(piece)
        self.size += len(piece)
        if self.size > self._limit:
            self._refuse(RemoteProtocolError("5.3.4 Message too big", answer=552))
        elif self._has_long_line(piece):
            self._refuse(RemoteProtocolError("5.5.2 Line too long", answer=500))
        else:
            self._content.write(piece)

    def _has_long_line(self, piece: bytes) -> bool:
        start = -self._line
        while len(piece) - start > self._max_line:
            start = piece.rfind(b"\n", max(0, start), start + self._max_line) + 1
            if start == 0:
                return True
        end = piece.rfind(b"\n") + 1
        self._line = len(piece) - end if end else self._line + len(piece)
        return False

    def _refuse(self, refusal: RemoteProtocolError) -> None:
        self.refusal = refusal
        self.discard()

    def discard(self) -> None:
        """Discard the message so far and to come."""
        self._discards = True
        self.size = 0
        self._content = BytesIO()

    def take(self) -> bytes:
        """Return the complete message, with the end of its last line, and keep none of it."""
        if self._cr or self._line:
            self.add(b"\n" if self._cr else b"\r\n")
        content, self._content = self._content, BytesIO()
        return content.getvalue()


class Content:
    """Takes the transmitted bytes and finds the end of the message: only CRLF.CRLF ends it.

    Each piece is converted when it arrives, so 25 MB do not hold up other connections at the end. A message that is
    refused is read to its end, and discarded on the way.
    """

    def __init__(self, buffer: MessageBuffer) -> None:
        self.ended = False
        self._buffer = buffer
        self._rest = b"\r\n"  # bytes that may be the beginning of CRLF.CRLF: the line end of the DATA command is
        self._begun = False

    def feed(self, data: bytes) -> bytes | None:
        """Take ``data``. Return None if there is more to come, otherwise the bytes after the final dot."""
        data = self._rest + data
        has_dots = b"." in data
        end = data.find(_DOT) if has_dots else -1
        if end >= 0:
            self._take(data[: end + 2], has_dots)
            return data[end + len(_DOT) :]
        kept = _beginning_of_the_end(data)
        self._take(data[: len(data) - kept], has_dots)
        self._rest = data[len(data) - kept :]
        return None

    def _take(self, piece: bytes, has_dots: bool) -> None:
        """Pass ``piece`` on without dot-stuffing, and without the line end of the DATA command."""
        if has_dots:
            piece = piece.replace(b"\r\n.", b"\r\n")
        if not self._begun and piece:
            self._begun, piece = True, piece[2:]
        self._buffer.add(piece)


class Counted:
    """Takes ``size`` bytes, as they follow BDAT: a dot in them has no meaning."""

    def __init__(self, buffer: MessageBuffer, size: int) -> None:
        self._buffer = buffer
        self._left = size

    @property
    def ended(self) -> bool:
        return not self._left

    def feed(self, data: bytes) -> bytes | None:
        """Take ``data``. Return None if there is more to come, otherwise the bytes behind the chunk."""
        piece = data[: self._left]
        self._left -= len(piece)
        self._buffer.add(piece)
        return None if self._left else data[len(piece) :]


def _beginning_of_the_end(data: bytes) -> int:
    """How many bytes at the end of ``data`` may begin CRLF.CRLF. So a line end is never split between two pieces."""
    return next((size for size in range(len(_DOT) - 1, 0, -1) if data.endswith(_DOT[:size])), 0)
