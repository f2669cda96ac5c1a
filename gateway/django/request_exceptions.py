"""Notes the exceptions of views for tests: Django itself answers them with 500, and goes on."""

import sys
from contextvars import ContextVar
from typing import Any

from django.core.signals import got_request_exception

_noted: ContextVar[list[BaseException] | None] = ContextVar("request_exceptions", default=None)


def note_into(exceptions: list[BaseException]) -> None:
    """Add to ``exceptions`` what views raise in requests that begin in this context."""
    got_request_exception.connect(_note, dispatch_uid=__name__)
    _noted.set(exceptions)


def _note(**signal: Any) -> None:
    exceptions, error = _noted.get(), sys.exc_info()[1]
    if exceptions is not None and error is not None:
        exceptions.append(error)
