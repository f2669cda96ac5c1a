"""The handler of the root logger."""

import logging

from gateway.frames import short
from gateway.logs.formatters import sentence
from gateway.logs.writer import Writer

PATIENCE = 1.0
"""Seconds that the end of the process waits for what is not written yet."""
_LOST = "%d records of the log were lost here, because they could not be written"


class Handler(logging.Handler):
    """Gives records to ``writer``. Where some were lost, a record says how many."""

    def __init__(self, writer: Writer, encoding: str = "utf-8") -> None:
        super().__init__()
        self.writer = writer
        self._encoding = encoding
        self._told = writer.lost

    def emit(self, record: logging.LogRecord) -> None:
        lost, line = self.writer.lost, self._line(record)
        if lost == self._told or not self.writer.has_room():
            self.writer.write(line)
            return
        note = self._line(_record(logging.WARNING, _LOST, lost - self._told))
        self.writer.write(note + line)  # as one: both, or none
        if self.writer.lost == lost:
            self._told = lost

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            line = self.format(record)
        except Exception as error:  # whatever an argument of the record raises
            place, reason = f"{short(record.pathname)}:{record.lineno}", sentence(error)
            line = self.format(_record(logging.ERROR, "a log record could not be formatted at %s: %s", place, reason))
        return f"{line}\n".encode(self._encoding, "backslashreplace")

    def flush(self) -> None:
        self.writer.flush(PATIENCE)


def _record(level: int, message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(__name__, level, __file__, 0, message, arguments, None)
