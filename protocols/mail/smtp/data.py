"""Reads the content after a DATA command up to the final dot, in bounded memory (RFC 5321 4.1.1.4, 4.5.2)."""

from protocols.errors import RemoteProtocolError
from protocols.mail.line_ends import with_crlf

_DOT = b"\r\n.\r\n"


class Content:
    """Takes the transmitted bytes and finds the end of the message: only CRLF.CRLF ends it.

    Each piece is converted when it arrives, so 25 MB do not hold up other connections at the end. A message over
    ``limit`` bytes is read to its end and discarded on the way.
    """

    def __init__(self, limit: int) -> None:
        # Begins with the line end of the DATA command, so that a final or stuffed dot may be the first line.
        self._buffer = bytearray()
        self._rest = b"\r\n"  # bytes that may be the beginning of CRLF.CRLF
        self._limit = limit + 2
        self._excess = False

    def __len__(self) -> int:
        """The number of bytes in memory."""
        return len(self._buffer) + len(self._rest)

    def feed(self, data: bytes) -> bytes | None:
        """Take ``data``. Return None if there is more to come, otherwise the bytes after the final dot."""
        data = self._rest + data
        end = data.find(_DOT)
        if end >= 0:
            self._take(data[: end + 2])
            self._rest = b""
            return data[end + len(_DOT) :]
        kept = _beginning_of_the_end(data)
        self._take(data[: len(data) - kept])
        self._rest = data[len(data) - kept :]
        return None

    def discard(self) -> None:
        """Discard the content so far and to come, and only look for the end."""
        self._excess = True
        self._buffer.clear()

    def _take(self, piece: bytes) -> None:
        """Append ``piece`` without dot-stuffing, and with bare CR or LF, which RFC 5321 (2.3.8) forbids, as CRLF. None
        is passed on, so no server behind us can take one for the end of the message ("SMTP smuggling")."""
        if self._excess:
            return
        self._buffer += with_crlf(piece.replace(b"\r\n.", b"\r\n"))
        if len(self._buffer) > self._limit:
            self.discard()

    def message(self, max_line: int) -> bytes:
        """The complete message. Raises RemoteProtocolError if it, or a line in it, is too long."""
        if self._excess:
            raise RemoteProtocolError("5.3.4 Message too big", answer=552)
        message = bytes(memoryview(self._buffer)[2:])
        self._buffer = bytearray()
        if _has_long_line(message, max_line):
            raise RemoteProtocolError("5.5.2 Line too long", answer=500)
        return message


def _beginning_of_the_end(data: bytes) -> int:
    """How many bytes at the end of ``data`` may begin CRLF.CRLF. So a line end is never split between two pieces."""
    return next((size for size in range(len(_DOT) - 1, 0, -1) if data.endswith(_DOT[:size])), 0)


def _has_long_line(message: bytes, max_line: int) -> bool:
    start = 0
    while len(message) - start > max_line:
        start = message.rfind(b"\n", start, start + max_line) + 1
        if start == 0:
            return True
    return False
