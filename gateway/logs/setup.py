"""Sets the log up: which records are written, where, and in which format."""

import contextlib
import logging
import os
import sys
from typing import TextIO

from gateway.config.settings import LogSettings
from gateway.logs.duplicates import DuplicateFilter, SilencingFilter
from gateway.logs.formatters import JSONFormatter, TextFormatter, sentence
from gateway.logs.frames import short
from gateway.logs.rate_limit import RateLimit

_NOISY = ("aiohttp", "aioimaplib", "aiosmtplib", "asyncio", "mail.debug", "mail.log")
"""Loggers of libraries that log each connection at level info; aiosmtpd and aioimaplib log its content, too."""


def configure(settings: LogSettings, stream: TextIO) -> None:
    """Set the root logger up by ``settings``."""
    full = settings.tracebacks == "full" or settings.level == "debug"
    stamped = not _is_journal(stream) if settings.timestamps is None else settings.timestamps
    handler = _Handler(stream)
    handler.setFormatter(JSONFormatter() if settings.format == "json" else TextFormatter(full=full, stamped=stamped))
    handler.addFilter(SilencingFilter(stream) if settings.format == "json" else DuplicateFilter(stream))
    if settings.level != "debug":
        handler.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def adopt(settings: LogSettings) -> None:
    """Replace, if the format is ``json``, the handlers with which loggers write to standard output or error in a form
    of their own. Their records go to the root logger instead, even if they did not propagate before."""
    if settings.format != "json" or not any(isinstance(each, _Handler) for each in logging.getLogger().handlers):
        return  # or the application has a root logger of its own
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    for logger in loggers:
        for handler in list(logger.handlers):
            if getattr(handler, "stream", None) in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__):
                logger.removeHandler(handler)
                logger.propagate = True


def _is_journal(stream: TextIO) -> bool:
    """Return whether systemd's journal, which adds the time, reads ``stream`` (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        facts = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"


class _Handler(logging.StreamHandler[TextIO]):
    """Writes one line about a record that cannot be written, instead of a traceback in another form."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):  # a full disk, a reader that is gone
            return
        place, said = f"{short(record.pathname)}:{record.lineno}", sentence(error) if error else "no reason given"
        told = logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, "", None, None)
        told.msg = f"a log record could not be formatted at {place}: {said}".replace("%", "%%")
        with contextlib.suppress(OSError):
            self.stream.write(self.format(told) + self.terminator)
            self.flush()
