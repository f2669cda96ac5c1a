"""Sets the log up: which records are written, where, and in which format."""

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TextIO

from gateway.config.settings import LogSettings
from gateway.logs.colours import has_colours
from gateway.logs.duplicates import DuplicateFilter, SilencingFilter
from gateway.logs.formatters import AccessFormatter, JSONFormatter, TextFormatter, is_access
from gateway.logs.handler import PATIENCE, Handler
from gateway.logs.levels import Levels
from gateway.logs.rate_limit import RateLimit
from gateway.logs.stamps import full_time, stamp_for, unstamped
from gateway.logs.stream import Stream
from gateway.logs.writer import MOST, Target, Writer

_ACCESS_LEVEL = {"protocols.http.access": "info"}
"""These lines are written to a file of their own also if the level of the rest is `warning`."""


class _Log:
    """The log of this process, which has one root logger."""

    def __init__(self) -> None:
        self._levels = Levels()
        self._writers: dict[object, Writer] = {}
        """By what they write to."""
        self._old: dict[object, Writer] = {}
        """The writers of the settings before. One that the new settings need, too, goes on, with what waits in it."""
        self._closed: list[Writer] = []
        """Writers that are not in use any more, until they have ended: what they give up is lost too."""
        self._lost = 0
        """Records that were lost by those that have ended."""
        self._console: Handler | None = None
        self._files: list[Handler] = []
        self._access: list[Handler] = []
        self._has_started = False

    def configure(self, settings: LogSettings, stream: TextIO, *, to_files: bool) -> None:
        self._old, self._writers = self._writers, {}
        self._console = self._to_stream(settings, stream)
        self._files = [self._to_file(settings, settings.file)] if to_files and settings.file is not None else []
        if self._files:
            self._console.setLevel(logging.WARNING)
        self._access = []
        if to_files and settings.access_file is not None:
            self._access = [self._to_access_file(settings, settings.access_file)]
            for handler in (*self._files, self._console):
                handler.addFilter(_without_access)
        self._levels.replace({**(_ACCESS_LEVEL if self._access else {}), **settings.levels})
        logging.getLogger().setLevel(settings.level.upper())
        self._attach()
        for key in self._old.keys() - self._writers.keys():
            self._old[key].close(PATIENCE)
            self._closed.append(self._old[key])
        self._lost += sum(writer.lost for writer in self._closed if writer.is_over)
        self._closed = [writer for writer in self._closed if not writer.is_over]

    def started(self) -> None:
        self._has_started = True
        if self.is_in_use():  # the application may have a root logger of its own
            self._attach()

    def is_in_use(self) -> bool:
        return any(isinstance(each, Handler) for each in logging.getLogger().handlers)

    def _attach(self) -> None:
        assert self._console is not None
        console = [] if self._files and self._has_started else [self._console]
        logging.getLogger().handlers[:] = [*self._files, *self._access, *console]

    def change_level(self, logger: str, level: str) -> None:
        self._levels.change(logger, level)

    def levels(self) -> dict[str, str]:
        return self._levels.shown()

    def reopen(self) -> int:
        files = [*self._files, *self._access]
        for handler in files:
            handler.writer.do(handler.writer.target.reopen)
        return len(files)

    def lost(self) -> int:
        return self._lost + sum(writer.lost for writer in (*self._writers.values(), *self._closed))

    def _to_stream(self, settings: LogSettings, stream: TextIO) -> Handler:
        writer = self._writer(stream, partial(Stream, stream))
        if settings.format == "json":
            return _filtered(Handler(writer), JSONFormatter(), SilencingFilter(stream), settings)
        stamp, colours = stamp_for(settings.timestamps, stream), has_colours(stream)
        text = TextFormatter(full=_is_full(settings), stamp=stamp, colours=colours)
        return _filtered(Handler(writer, stream.encoding or "utf-8"), text, DuplicateFilter(stream), settings)

    def _to_file(self, settings: LogSettings, file: str) -> Handler:
        handler = Handler(self._file_writer(settings, file))
        return _filtered(handler, _file_formatter(settings), SilencingFilter(sys.stderr), settings)

    def _to_access_file(self, settings: LogSettings, file: str) -> Handler:
        handler = Handler(self._file_writer(settings, file))
        handler.setFormatter(AccessFormatter(_file_formatter(settings)))
        handler.addFilter(is_access)
        return handler

    def _file_writer(self, settings: LogSettings, file: str) -> Writer:
        from gateway.logs.log_file import LogFile, Rotation  # for a daemon that has one

        path = os.path.abspath(file)
        rotation = Rotation(settings.max_size, settings.keep, daily=settings.daily)
        return self._writer((path, rotation), lambda: LogFile(path, rotation, self._tell), path)

    def _writer(self, key: object, target: Callable[[], Target], path: str = "") -> Writer:
        writer = self._old.get(key) or Writer(target(), partial(self._tell_error, path))
        self._writers[key] = writer
        return writer

    def _tell_error(self, path: str, error: OSError) -> None:
        if path:  # standard error, if it cannot be written, has nowhere to say so
            waits = f"up to {MOST >> 20} MiB of records wait until it can"
            self._tell(f"{path} cannot be written: {error.strerror}; {waits}")

    def _tell(self, message: str) -> None:
        """Write to standard error what is wrong with a file of the log. Called from any thread."""
        if self._console is not None:
            self._console.handle(logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, None, None))


_log = _Log()


def configure(settings: LogSettings, stream: TextIO, *, to_files: bool = False) -> None:
    """Set the root logger up by ``settings``, in the place of what an earlier call has set up. ``to_files``: write to
    the file that they name, as only a daemon does; others write to ``stream``.

    With a file, ``stream`` gets warnings and errors until :func:`started`, and what is wrong with the file.
    """
    _log.configure(settings, stream, to_files=to_files)


def started() -> None:
    """Leave ``stream`` to those who print on it, if there is a file: the start is over, and the daemon serves."""
    _log.started()


def change_level(logger: str, level: str) -> None:
    """Set the level of one logger; ``""`` is the root logger, whose level all have that have none of their own. The
    next :func:`configure` takes it back."""
    _log.change_level(logger, level)


def levels() -> tuple[str, dict[str, str]]:
    """Return the level of the root logger, and those of loggers that were given one."""
    return logging.getLevelName(logging.getLogger().level).lower(), _log.levels()


def reopen() -> int:
    """Let files be opened again, since something has renamed them. Return how many there are."""
    return _log.reopen()


def lost() -> int:
    """Return how many records of this process could not be written. It never becomes less."""
    return _log.lost()


def adopt(settings: LogSettings) -> None:
    """Replace, if every line is to have the one format or to be in the file, the handlers with which loggers write to
    standard output or error. Their records go to the root logger instead, even if they did not propagate before."""
    if (settings.format != "json" and settings.file is None) or not _log.is_in_use():
        return  # or the application has a root logger of its own
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    for logger in loggers:
        for handler in list(logger.handlers):
            if getattr(handler, "stream", None) in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__):
                logger.removeHandler(handler)
                logger.propagate = True


def _filtered(
    handler: Handler, formatter: logging.Formatter, duplicates: logging.Filter, settings: LogSettings
) -> Handler:
    handler.setFormatter(formatter)
    handler.addFilter(duplicates)
    handler.addFilter(RateLimit())
    if settings.arrivals:
        handler.addFilter(_without_traffic)
    return handler


def _file_formatter(settings: LogSettings) -> logging.Formatter:
    stamp = unstamped if settings.timestamps is False else full_time
    return JSONFormatter() if settings.format == "json" else TextFormatter(full=_is_full(settings), stamp=stamp)


def _is_full(settings: LogSettings) -> bool:
    return settings.tracebacks == "full" or settings.level == "debug"


def _without_access(record: logging.LogRecord) -> bool:
    return not is_access(record)


def _without_traffic(record: logging.LogRecord) -> bool:
    """Leave out the lines of servers that say what the lines of arrivals say."""
    return not record.name.endswith(".traffic")
