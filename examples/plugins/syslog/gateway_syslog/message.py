"""RFC 5424: one message, and RFC 6587: how messages follow each other in a TCP stream. No I/O."""

import re
from dataclasses import dataclass

from protocols.errors import RemoteProtocolError

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock"),
    *(f"local{number}" for number in range(8)),
)
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
_HEAD = re.compile(rb"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) (?=[-\[])")
"""6: PRI VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID, and then the structured data."""
_DATA = re.compile(rb'-|(?:\[[^ =\]"]+(?: [^ =\]"]+="(?:[^"\\\]]|\\.)*")*\])+')
_LONGEST_COUNT = 10
"""Digits of a message's length."""


@dataclass(frozen=True)
class SyslogMessage:
    facility: str
    severity: str
    timestamp: str
    hostname: str
    app_name: str
    procid: str
    msgid: str
    structured_data: str
    text: str


def parse(data: bytes) -> SyslogMessage:
    """Parse one message. Raises RemoteProtocolError if ``data`` is not a message of RFC 5424."""
    head = _HEAD.match(data)
    structured = _DATA.match(data, head.end()) if head else None
    if head is None or structured is None or int(head[1]) >= len(FACILITIES) * 8:
        raise RemoteProtocolError("it is not a message of RFC 5424")
    timestamp, hostname, app_name, procid, msgid = (_word(each) for each in head.groups()[1:])
    facility, severity = divmod(int(head[1]), 8)
    text = data[structured.end() :].removeprefix(b" ").removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    names = FACILITIES[facility], SEVERITIES[severity]
    return SyslogMessage(*names, timestamp, hostname, app_name, procid, msgid, _word(structured[0]), text.rstrip("\n"))


def _word(data: bytes) -> str:
    """Return the text of a field. ``-`` stands for an empty field."""
    return "" if data == b"-" else data.decode("utf-8", "replace")


class Frames:
    """Takes the bytes of a TCP stream, and returns messages. A message longer than ``longest`` raises
    RemoteProtocolError."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        found = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self) -> bytes | None:
        counted = self._buffer[:1].isdigit()
        end = self._buffer.find(b" " if counted else b"\n", 0, _LONGEST_COUNT + 1 if counted else None)
        if end < 0:
            if len(self._buffer) > (_LONGEST_COUNT if counted else self._longest):
                raise RemoteProtocolError("a message is too long, or its length is not a number")
            return None
        return self._counted(end) if counted else self._cut(0, end, end + 1)

    def _counted(self, end: int) -> bytes | None:
        """3.4.1: MSG-LEN SP SYSLOG-MSG."""
        digits = bytes(self._buffer[:end])
        if not digits.isdigit() or int(digits) > self._longest:
            raise RemoteProtocolError("a message is too long, or its length is not a number")
        last = end + 1 + int(digits)
        return self._cut(end + 1, last, last) if len(self._buffer) >= last else None

    def _cut(self, start: int, end: int, rest: int) -> bytes:
        message = bytes(self._buffer[start:end])
        del self._buffer[:rest]
        if len(message) > self._longest:
            raise RemoteProtocolError("a message is too long")
        return message
