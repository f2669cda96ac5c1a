"""The log records that say that something was not sent."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from protocols.asgi import describe
from protocols.errors import NotSent

logger = logging.getLogger(__name__)

unsent_to: ContextVar[str] = ContextVar("unsent_to", default="")
"""The recipients of what was not sent, while that is logged. A log handler may send mail about the record: to them it
must not, because that is not sent either, and has a record of its own."""


@contextmanager
def about_unsent(to: str) -> Iterator[None]:
    """What is logged here says that something ``to`` these recipients was not sent."""
    token = unsent_to.set(to)
    try:
        yield
    finally:
        unsent_to.reset(token)


def report_unsent(scope: Any, what: str, to: str, error: NotSent) -> None:
    """Log that ``what`` (``mail``, ``publication``) to ``to`` was not sent.

    It is not tried again, and the message whose handler sent it is not deferred because of it.
    """
    event = scope["extensions"].get("event", {}).get("id", "")
    head = f"{event} {describe(scope)}" if event else describe(scope)
    with about_unsent(to):
        logger.error("%s: %s to %s not sent: %s", head, what, to, error, extra={"scope": scope, "lost": True})
