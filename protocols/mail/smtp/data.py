"""What follows the DATA command: the bytes up to the final dot, in bounded memory (RFC 5321 4.1.1.4, 4.5.2)."""

from protocols.errors import RemoteProtocolError
from protocols.mail.line_ends import with_crlf

_DOT = b"\r\n.\r\n"


class Content:
    """Takes what the sender transmits and finds the end of it: only CRLF.CRLF ends a message.

    Each piece is made what it is to be as it comes, so that 25 MB at the end keep nobody waiting. A message over
    ``limit`` bytes is read to its end and forgotten as it comes.
    """

    def __init__(self, limit: int) -> None:
        # The line end of the DATA command itself, so that a final dot, or a stuffed one, may be the first line.
        self._buffer = bytearray()
        self._rest = b"\r\n"  # what may be the beginning of the end
        self._limit = limit + 2
        self._excess = False

    def __len__(self) -> int:
        """Bytes that it holds."""
        return len(self._buffer) + len(self._rest)

    def feed(self, data: bytes) -> bytes | None:
        """Take ``data``. None: there is more to come; otherwise what follows the final dot, which is not content."""
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
        """Forget what came and what will come: only the end is looked for."""
        self._excess = True
        self._buffer.clear()

    def _take(self, piece: bytes) -> None:
        """Without its dot-stuffing, and with bare line ends, which RFC 5321 (2.3.8) forbids, repaired: the end is found
        by CRLF.CRLF alone, and none passes on, so nobody behind us can take one for that end ("SMTP smuggling")."""
        if self._excess:
            return
        self._buffer += with_crlf(piece.replace(b"\r\n.", b"\r\n"))
        if len(self._buffer) > self._limit:
            self.discard()

    def message(self, max_line: int) -> bytes:
        """The message, after the final dot. Raises RemoteProtocolError."""
        if self._excess:
            raise RemoteProtocolError("5.3.4 Message too big", answer=552)
        message = bytes(memoryview(self._buffer)[2:])
        self._buffer = bytearray()
        if _has_long_line(message, max_line):
            raise RemoteProtocolError("5.5.2 Line too long", answer=500)
        return message


def _beginning_of_the_end(data: bytes) -> int:
    """How many bytes at the end of ``data`` may be the beginning of CRLF.CRLF. A line end is never cut in two."""
    return next((size for size in range(len(_DOT) - 1, 0, -1) if data.endswith(_DOT[:size])), 0)


def _has_long_line(message: bytes, max_line: int) -> bool:
    start = 0
    while len(message) - start > max_line:
        start = message.rfind(b"\n", start, start + max_line) + 1
        if start == 0:
            return True
    return False
