"""Sets the log up: which records are written, where, and in which format."""

import contextlib
import logging
import sys
from typing import TextIO

from gateway.config.settings import LogSettings
from gateway.frames import short
from gateway.logs.colours import has_colours
from gateway.logs.duplicates import DuplicateFilter, SilencingFilter
from gateway.logs.formatters import JSONFormatter, TextFormatter, sentence
from gateway.logs.rate_limit import RateLimit
from gateway.logs.stamps import stamp_for

_NOISY = ("aiohttp", "aioimaplib", "aiosmtplib", "asyncio", "mail.debug", "mail.log")
"""Loggers of libraries that log each connection at level info; aiosmtpd and aioimaplib log its content, too."""


def configure(settings: LogSettings, stream: TextIO) -> None:
    """Set the root logger up by ``settings``."""
    full = settings.tracebacks == "full" or settings.level == "debug"
    text = TextFormatter(full=full, stamp=stamp_for(settings.timestamps, stream), colours=has_colours(stream))
    handler = _Handler(stream)
    handler.setFormatter(JSONFormatter() if settings.format == "json" else text)
    handler.addFilter(SilencingFilter(stream) if settings.format == "json" else DuplicateFilter(stream))
    if settings.level != "debug":
        handler.addFilter(RateLimit())
    if settings.arrivals:
        handler.addFilter(_without_traffic)
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


def _without_traffic(record: logging.LogRecord) -> bool:
    """Leave out the lines of servers that say what the lines of arrivals say."""
    return not record.name.endswith(".traffic")


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
