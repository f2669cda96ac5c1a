"""What the daemon writes to standard error: one record a fact, for people or for machines.

A record that a crash made carries its scope (``extra={"scope": scope}``) and the route in ``current_route``. No record
holds a message's body or a password: the scope is described by :func:`protocols.asgi.describe`, never printed whole.
"""

import contextlib
import linecache
import logging
import os
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from gateway.config.settings import LogSettings
from gateway.consumers.failure import topic_of
from gateway.delivery.current_event import current_event
from gateway.logs.duplicates import Alone, Doubled
from gateway.logs.escaping import json_text, one_line
from gateway.logs.frames import own_frame_of, short
from gateway.logs.rate_limit import Flood
from gateway.routing import current_route

_NOISY = ("aiohttp", "aioimaplib", "aiosmtplib", "asyncio", "mail.debug", "mail.log")
"""Libraries that log each connection at level info, aiosmtpd's and aioimaplib's with what was said on it."""
Error = tuple[type[BaseException], BaseException, TracebackType | None]


def configure(settings: LogSettings, stream: TextIO) -> None:
    """Replace what the root logger does by ``settings``."""
    full = settings.tracebacks == "full" or settings.level == "debug"
    stamped = not _is_journal(stream) if settings.timestamps is None else settings.timestamps
    handler = _Handler(stream)
    handler.setFormatter(JSON() if settings.format == "json" else Text(full=full, stamped=stamped))
    handler.addFilter(Alone(stream) if settings.format == "json" else Doubled(stream))
    if settings.level != "debug":
        handler.addFilter(Flood())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def take_over() -> None:
    """What Python itself would print on standard error, in its own form, becomes records: for a process of our own."""
    warnings.showwarning = _log_warning
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_lost(
        f"the thread {args.thread.name if args.thread else '?'} crashed", args.exc_value
    )
    sys.unraisablehook = lambda args: _log_lost(args.err_msg or "an exception was ignored", args.exc_value)


def adopt(settings: LogSettings) -> None:
    """Under ``json``: what loggers write on standard output or error in a form of their own becomes ours, also where
    they hand it on to nobody."""
    if settings.format != "json" or not any(isinstance(each, _Handler) for each in logging.getLogger().handlers):
        return  # or the application has a root logger of its own
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    for logger in loggers:
        for handler in list(logger.handlers):
            if getattr(handler, "stream", None) in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__):
                logger.removeHandler(handler)
                logger.propagate = True


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    logging.getLogger("py.warnings").warning("%s:%d: %s: %s", short(filename), lineno, category.__name__, message)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    extra = {"full": True}  # it is a mistake of ours
    logging.getLogger("gateway").critical("crashed", exc_info=(kind, error, trace), extra=extra)


def _log_lost(what: str, error: BaseException | None) -> None:
    logging.getLogger("gateway").error("%s", what, exc_info=error)


def _is_journal(stream: TextIO) -> bool:
    """Whether systemd's journal reads ``stream`` (systemd.exec(5), JOURNAL_STREAM): it has the time of each line."""
    try:
        facts = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{facts.st_dev}:{facts.st_ino}"


class _Handler(logging.StreamHandler[TextIO]):
    """Where a record cannot be written, that is no reason for a traceback in another form, nor to stop."""

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


def error_of(record: logging.LogRecord) -> Error | None:
    if not record.exc_info or record.exc_info[0] is None:
        return None
    kind, error, trace = record.exc_info
    assert error is not None
    return kind, error, trace


def sentence(error: BaseException) -> str:
    """``KeyError 'order'``: what went wrong, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__} {text}"[:500].rstrip()


class Text(logging.Formatter):
    """``ERROR 7f3a9c email ann@example.org -> tickets.Handler: KeyError 'order' (attempt 2 of 5, next in 30 s)``, then
    the line of the user's code. The id is there where the message has one."""

    def __init__(self, *, full: bool, stamped: bool = False) -> None:
        super().__init__()
        self._full = full
        self._stamped = stamped

    def format(self, record: logging.LogRecord) -> str:
        error = error_of(record)
        message = record.getMessage()
        if (topic := topic_of(error[1]) if error else "") and topic not in message:
            message += f" {topic}"
        if route := _route(record):
            message += f" -> {_target(route)}"
        if (event := current_event.get()) and event not in message:
            message = f"{event} {message}"
        flood = f" ({record.flood})" if hasattr(record, "flood") else ""
        head = f"{self._time(record)}{record.levelname:<7} {message}{flood}"
        if error is None:
            return one_line(head)
        note = getattr(record, "note", "")
        lines = [f"{head}: {sentence(error[1])}" + (f" ({note})" if note else "")]
        if self._full or hasattr(record, "full"):
            lines += _indented("".join(traceback.format_exception(*error)))
        elif frame := own_frame_of(error[1]) or _innermost(error[2]):
            line = linecache.getline(frame.filename, frame.lineno or 0).strip()
            lines.append(f"        {short(frame.filename)}:{frame.lineno}  {line}")
        if note:
            lines.append(f"        {'kept; ' if getattr(record, 'kept', False) else ''}gateway show {event}")
        return "\n".join(map(one_line, lines))  # what a peer sent cannot forge a line

    def _time(self, record: logging.LogRecord) -> str:
        if not self._stamped:
            return ""
        return f"{datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec='milliseconds')} "


def _innermost(trace: TracebackType | None) -> traceback.FrameSummary | None:
    """Where a library failed, or we did, and the user's own code has no part in it."""
    return next(reversed(traceback.extract_tb(trace)), None)


def _indented(text: str) -> list[str]:
    return [f"        {line}" for line in text.rstrip().splitlines()]


def _route(record: logging.LogRecord) -> str:
    """The label of the route, for a record that belongs to a scope."""
    return current_route.get() if hasattr(record, "scope") else ""


def _target(label: str) -> str:
    return label.rpartition("-> ")[2]


class JSON(logging.Formatter):
    """One object a line: time, level, logger, message; and route, scope, error, traceback where there are such."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        error = error_of(record)
        if topic := topic_of(error[1]) if error else "":
            fields["topic"] = topic
        if route := _route(record):
            fields["route"] = route
        if event := current_event.get():
            fields["event"] = event
        fields["flood"] = getattr(record, "flood", None)
        scope = getattr(record, "scope", None)
        if isinstance(scope, dict):
            fields["scope"] = scope["type"]
            fields["listener"] = scope.get("listener")
        if error:
            fields["error"] = sentence(error[1])
            fields["traceback"] = "".join(traceback.format_exception(*error))
        return json_text({key: value for key, value in fields.items() if value is not None})
