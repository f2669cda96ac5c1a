"""Turns what Python itself prints on standard error (warnings, uncaught exceptions) into log records."""

import logging
import sys
import threading
import warnings
from types import TracebackType

from gateway.frames import short
from gateway.logs.unawaited import forgotten_await


def take_over() -> None:
    """Log warnings and uncaught exceptions from now on. It changes the whole process: only the daemon calls it."""
    warnings.showwarning = _log_warning
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_lost(
        f"the thread {args.thread.name if args.thread else '?'} crashed", args.exc_value
    )
    sys.unraisablehook = lambda args: _log_lost(args.err_msg or "an exception was ignored", args.exc_value)


def _log_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    if issubclass(category, RuntimeWarning) and (said := forgotten_await(str(message), filename, lineno)):
        logging.getLogger("py.warnings").error("%s", said)
        return
    logging.getLogger("py.warnings").warning("%s:%d: %s: %s", short(filename), lineno, category.__name__, message)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    extra = {"full": True}  # it is a mistake of ours
    logging.getLogger("gateway").critical("crashed", exc_info=(kind, error, trace), extra=extra)


def _log_lost(what: str, error: BaseException | None) -> None:
    logging.getLogger("gateway").error("%s", what, exc_info=error)
