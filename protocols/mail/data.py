"""What follows the DATA command: the bytes up to the final dot, in bounded memory (RFC 5321 4.1.1.4, 4.5.2)."""

from protocols.errors import RemoteProtocolError
from protocols.mail.line_ends import bare, with_crlf

_DOT = b"\r\n.\r\n"


class Content:
    """Takes what the sender transmits and finds the end of it: only CRLF.CRLF ends a message.

    A message over ``limit`` bytes is read to its end and forgotten as it comes.
    """

    def __init__(self, limit: int) -> None:
        # The line end of the DATA command itself, so that a final dot, or a stuffed one, may be the first line.
        self._buffer = bytearray(b"\r\n")
        self._limit = limit
        self._excess = False

    def __len__(self) -> int:
        """Bytes that it holds."""
        return len(self._buffer)

    def feed(self, data: bytes) -> bytes | None:
        """Take ``data``. None: there is more to come; otherwise what follows the final dot, which is not content."""
        buffer = self._buffer
        searched = max(0, len(buffer) - len(_DOT) + 1)
        buffer += data
        end = buffer.find(_DOT, searched)
        if end < 0:
            self._forget_excess()
            return None
        rest = bytes(buffer[end + len(_DOT) :])
        del buffer[end + 2 :]
        self._forget_excess()
        return rest

    def discard(self) -> None:
        """Forget what came and what will come: only the end is looked for."""
        self._excess = True
        self._forget_excess()

    def _forget_excess(self) -> None:
        if len(self._buffer) > self._limit + len(_DOT):
            self._excess = True
        if self._excess:
            del self._buffer[: 1 - len(_DOT)]

    def message(self, max_line: int) -> bytes:
        """The message without its dot-stuffing, after the final dot. Raises RemoteProtocolError.

        Bare line ends, which RFC 5321 (2.3.8) forbids, are repaired now that its end is found, by CRLF.CRLF alone: none
        passes on, so nobody behind us can take one for that end ("SMTP smuggling").
        """
        unstuffed = self._buffer.replace(b"\r\n.", b"\r\n")
        self._buffer.clear()
        message = bytes(memoryview(unstuffed)[2:])
        if self._excess or len(message) + bare(message) > self._limit:
            raise RemoteProtocolError("5.3.4 Message too big", answer=552)
        message = with_crlf(message)
        if _has_long_line(message, max_line):
            raise RemoteProtocolError("5.5.2 Line too long", answer=500)
        return message


def _has_long_line(message: bytes, max_line: int) -> bool:
    start = 0
    while len(message) - start > max_line:
        start = message.rfind(b"\n", start, start + max_line) + 1
        if start == 0:
            return True
    return False
