"""The log record of an event that a handler sent without ``wait``, and that was not sent."""

import logging
from typing import Any

from protocols.asgi import describe
from protocols.errors import NotSent

logger = logging.getLogger(__name__)


def report_unsent(scope: Any, what: str, to: str, error: NotSent) -> None:
    """Log that ``what`` (``mail``, ``publication``) to ``to`` was not sent.

    It is not tried again, and the message whose handler sent it is not deferred because of it.
    """
    event = scope["extensions"].get("event", {}).get("id", "")
    head = f"{event} {describe(scope)}" if event else describe(scope)
    logger.error("%s: %s to %s not sent: %s", head, what, to, error, extra={"scope": scope, "lost": True})
