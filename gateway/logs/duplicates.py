"""Keeps one record from being written twice, although a library's logger has a handler of its own: Django's console,
engineio's."""

import logging
import sys
from collections.abc import Iterator
from typing import TextIO


class DuplicateFilter(logging.Filter):
    """Drops a record that a handler below the root logger has already written to standard output or error."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def filter(self, record: logging.LogRecord) -> bool:
        return not any(self._has_written(handler, record) for handler in _below_root(record.name))

    def _has_written(self, handler: logging.Handler, record: logging.LogRecord) -> bool:
        return self._is_console(handler) and record.levelno >= handler.level and bool(handler.filter(record))

    def _is_console(self, handler: logging.Handler) -> bool:
        consoles = (self._stream, sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__)
        return isinstance(handler, logging.StreamHandler) and handler.stream in consoles


class SilencingFilter(DuplicateFilter):
    """Silences such a handler at its first record, so that every line has the format of the file."""

    def filter(self, record: logging.LogRecord) -> bool:
        for handler in _below_root(record.name):
            if self._is_console(handler) and _nothing not in handler.filters:
                handler.addFilter(_nothing)
        return True


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _below_root(name: str) -> Iterator[logging.Handler]:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None and logger.parent is not None:
        yield from logger.handlers
        logger = logger.parent
